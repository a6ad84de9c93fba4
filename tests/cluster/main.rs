//! People on different nodes talk as if on one: order, retries, resume, history, presence, typing
//! and slow readers, over the memory broker and over Redis.

#![expect(clippy::print_stdout, reason = "tests print their figures")]

/// Runs each scenario on three nodes over the memory broker and again over Redis.
macro_rules! on_both_brokers {
    ($($scenario:ident),+ $(,)?) => {
        on_both_brokers!(with &[]; $($scenario),+);
    };
    (with $settings:expr; $($scenario:ident),+ $(,)?) => {
        mod memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario(hubbub_tests::cluster::Cluster::memory(3, $settings).await).await;
                }
            )+
        }
        mod redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario(hubbub_tests::cluster::Cluster::redis(3, $settings).await).await;
                }
            )+
        }
    };
}

/// Runs each scenario on three nodes over a file, and over Redis and PostgreSQL.
macro_rules! on_both_archives {
    ($($scenario:ident),+ $(,)?) => {
        on_both_archives!(with &[]; $($scenario),+);
    };
    (with $settings:expr; $($scenario:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario(hubbub_tests::cluster::Cluster::sqlite(3, $settings).await).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario(hubbub_tests::cluster::Cluster::postgres(3, $settings).await).await;
                }
            )+
        }
    };
}

mod access;
mod agreement;
mod archive;
mod bench;
mod bodies;
mod changes;
mod history;
mod identity;
mod join;
mod keep;
mod nonce;
mod order;
mod orders;
mod pages;
mod presence;
mod restart;
mod secrets;
mod slow;
mod trouble;
mod typing;
mod unread;
