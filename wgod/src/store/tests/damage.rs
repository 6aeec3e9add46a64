//! A database file with damage anywhere in it: an error, never a panic.
use std::sync::Arc;

use super::add;
use super::backup::disk_with;
use super::power_disk::Survives;
use super::world::{self, requests};
use crate::store::database::Database;
use crate::store::{StoreError, worker};

#[test]
fn a_damaged_database_is_an_error_wherever_the_damage_is() {
    let disk = disk_with(&requests()[..6]);
    let good = disk.content("state.redb").unwrap();
    let mut refused = 0;
    let mut damaged = |bytes: Vec<u8>| {
        let disk = disk.restart(Survives::All);
        disk.edit("state.redb", |content| *content = bytes);
        let read = || {
            let mut database = world::open(&disk)?.database;
            backup_of_whole(&mut database)?;
            worker::write(&mut database, [add(9)].iter())?;
            database.close()
        };
        if let Err(error) = read() {
            assert!(error.damage().is_some(), "{error}");
            refused += 1;
        }
    };
    for sector in (0..good.len() / 512).map(|n| n * 512..(n + 1) * 512) {
        for filler in [0, 0xff] {
            let mut bytes = good.clone();
            bytes[sector.clone()].fill(filler);
            if bytes != good {
                damaged(bytes);
            }
        }
    }
    (0..good.len()).step_by(good.len() / 30).for_each(|len| damaged(good[..len].to_vec()));
    assert!(refused > 60, "{refused}");
}

fn backup_of_whole(database: &mut Database) -> Result<(), StoreError> {
    let wanted = Arc::new(());
    let number = database.begin_export(&wanted, 0, 0)?;
    while database.next_page(number)?.is_some() {}
    Ok(())
}
