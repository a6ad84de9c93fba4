//! `hubbub serve`: one node, until a signal.

use super::{CommandError, OnHangup, Signals, runtime};
use hubbub_node::Failpoints;

use crate::cli::SettingsArgs;
use crate::config::FAILPOINTS;
use crate::server::Server;
use crate::{files, logging};

pub(crate) fn serve(args: &SettingsArgs) -> Result<(), CommandError> {
    let mut settings = args.load()?.settings;
    if let Ok(names) = std::env::var(FAILPOINTS) {
        settings.failpoints = Failpoints::parse(&names)?;
    }
    logging::start("info");
    files::raise_limit();
    runtime()?.block_on(async {
        let mut signals = Signals::listen(OnHangup::Ignore)?;
        let server = Server::start(settings).await?;
        tokio::select! {
            () = signals.next() => {}
            () = server.dismissed() => {}
        }
        tokio::select! {
            _cut = server.drain() => Ok(()),
            () = signals.next() => Err(CommandError::Interrupted),
        }
    })
}
