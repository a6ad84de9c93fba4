//! The resources below `/v1`, asked by programs and pages over real sockets, on a file and on Redis
//! with PostgreSQL; what operators ask of the archive.

/// Runs each scenario on two nodes over a file, and over Redis and PostgreSQL.
macro_rules! on_both_archives {
    ($($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    let signed = [hubbub_tests::people::SIGNED];
                    let cluster = hubbub_tests::cluster::Cluster::sqlite(2, &signed).await;
                    super::$scenario(cluster).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    let signed = [hubbub_tests::people::SIGNED];
                    let cluster = hubbub_tests::cluster::Cluster::postgres(2, &signed).await;
                    super::$scenario(cluster).await;
                }
            )+
        }
    };
}

mod archive;
mod asking;
mod attacks;
mod backends;
mod entry;
mod events;
mod health;
mod keys;
mod messages;
mod pages;
mod people;
mod positions;
mod private;
mod rooms;
mod search;
mod sends;
mod tokens;
