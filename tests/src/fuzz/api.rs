//! Parameters of the control API.
use serde_json::Value;
use wgo_api::params::*;

/// Takes JSON for the parameters of each method in turn; what is taken is written and read as the same.
pub(super) fn params(data: &[u8]) {
    macro_rules! each {
        ($($params:ty,)*) => { $( round_trip::<$params>(data); )* };
    }
    each! {
        AddParams, SelectParams, VerifyParams, RemoveParams, MoveParams, RenameParams, ListParams, ShowParams,
        MetainfoParams, StatusParams, StatsParams, LimitParams, WaitParams, BackupParams, ReadBackupParams,
        WriteBackupParams, RestoreParams, ConfigParams, ResetParams, ReloadParams, QuitParams, AltParams, FilesParams,
        LabelParams, DoctorParams, LogParams, DiscoverParams, TrackersParams, StartParams, SetParams, QueueParams,
    }
}

fn round_trip<T: serde::Serialize + serde::de::DeserializeOwned>(data: &[u8]) {
    let Ok(params) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_vec(&params).expect("they are plain data");
    let again: T = serde_json::from_slice(&written).expect("what we write we read");
    let value = |params: &T| serde_json::to_value(params).expect("they are plain data");
    let (first, second): (Value, Value) = (value(&params), value(&again));
    assert_eq!(first, second);
}
