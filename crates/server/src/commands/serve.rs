//! `hubbub serve`: one node, until a signal.

use hubbub_node::Failpoints;

use super::error::CommandError;
use super::process::{OnHangup, Signals, runtime};
use crate::args::SettingsArgs;
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
            () = server.failed() => {
                server.stop().await;
                return Err(CommandError::TaskFailed);
            }
        }
        tokio::select! {
            _cut = server.drain() => Ok(()),
            () = signals.next() => Err(CommandError::Interrupted),
        }
    })
}
