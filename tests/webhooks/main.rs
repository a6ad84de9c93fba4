//! What happens in rooms is told to other services: at least once, in order in each room, signed, on
//! any node, through faults of the endpoint, of nodes and of Redis.

#![expect(clippy::print_stdout, reason = "tests print their figures")]

/// Runs each scenario on three nodes over the memory broker and again over Redis.
macro_rules! on_both_brokers {
    ($($scenario:ident),+ $(,)?) => {
        mod memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario(crate::fixture::Brokers::Memory).await;
                }
            )+
        }
        mod redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario(crate::fixture::Brokers::Redis).await;
                }
            )+
        }
    };
}

mod deaths;
mod failures;
mod fixture;
mod https;
mod order;
