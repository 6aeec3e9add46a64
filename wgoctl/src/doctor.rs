//! `wgoctl doctor`: what is wrong with the daemon and its surroundings, and what to do about it.
//!
//! The daemon tells what it sees as its own user, in its own namespaces; what lies between it and whoever
//! asks (the socket, versions), and everything when it is down, is looked at here.
mod local;
mod page;

use serde_json::json;
use wgo_api::doctor::{Finding, Severity};
use wgo_api::params::{DoctorParams, StatusParams};
use wgo_api::{ApiClient, ApiError};

use crate::context::Context;
use crate::failure::Failure;
use crate::tunnel::Tunnel;

/// No options of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits with 0 when nothing is bad, else with 1. Works with the daemon down, too.

Examples:
  wgoctl doctor
  sudo -u wgod wgoctl doctor            # as who may see more
  wgoctl --json doctor | jq '.findings[] | select(.severity != \"ok\")'")]
pub struct Args {}

pub(crate) async fn run(_: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let client = context.prompt_client();
    let mut findings = Vec::new();
    let status = client.status(StatusParams::default()).await.map_err(wgo_api::ApiError::from);
    let running = status.is_ok();
    let reached = status.as_ref().map(|_| ());
    findings.push(match context.tunnel() {
        Some(tunnel) => through(&tunnel, reached),
        None => local::socket(context.socket(), reached),
    });
    match status {
        Ok(status) => {
            findings.push(local::daemon(&status.daemon));
            match client.doctor(DoctorParams {}).await.map_err(wgo_api::ApiError::from) {
                Ok(result) => findings.extend(result.findings),
                Err(error) => findings.push(local::no_answer(&error)),
            }
        }
        // What keeps it from running is to be seen on its own machine.
        Err(_) if context.tunnel().is_some() => {}
        Err(_) => findings.extend(local::without_daemon(context.socket())),
    }
    let count = |severity| findings.iter().filter(|finding: &&Finding| finding.severity == severity).count();
    let bad = count(Severity::Bad);
    let document = json!({
        "running": running,
        "ok": count(Severity::Ok), "warn": count(Severity::Warn), "bad": bad,
        "findings": findings,
    });
    context.answer(&document, |_, terminal| page::page(&findings, terminal))?;
    Ok(u8::from(bad > 0))
}

/// Whether the daemon answers at the far end of a tunnel.
fn through(tunnel: &Tunnel, reached: Result<(), &ApiError>) -> Finding {
    match reached {
        Ok(()) => Finding::ok("socket", tunnel.url()),
        Err(error) => {
            let why = tunnel.explain(error.clone()).message;
            Finding::bad(
                "socket",
                why,
                "run `wgoctl doctor` on that machine; name its socket in the URL if it has another",
            )
        }
    }
}
