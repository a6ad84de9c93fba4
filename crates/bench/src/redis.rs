//! The CPU cost of Redis by its own account, and the cost of a bare PUBLISH.

use std::net::{SocketAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr};

use crate::clock;
use crate::error::BenchError;

/// The Redis of the cluster under load.
#[derive(Debug)]
pub(crate) struct Redis {
    client: Client,
}

/// How long the subscribers of a bare channel have to subscribe.
const READ: Duration = Duration::from_millis(200);

impl Redis {
    pub(crate) fn new(url: &str) -> Result<Self, BenchError> {
        Ok(Self {
            client: Client::open(url)?,
        })
    }

    fn connection(&self) -> Result<Connection, BenchError> {
        Ok(self
            .client
            .get_connection_with_timeout(Duration::from_secs(5))?)
    }

    /// The address of Redis, for a client without password or TLS.
    pub(crate) fn address(&self) -> Result<SocketAddr, BenchError> {
        let plain = match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => (host.as_str(), *port).to_socket_addrs()?.next(),
            _ => None,
        };
        plain.ok_or(BenchError::Arguments("--relay: only redis://HOST:PORT"))
    }

    /// CPU time used so far, in nanoseconds.
    pub(crate) fn cpu(&self) -> Result<u64, BenchError> {
        let info: String = redis::cmd("INFO")
            .arg("cpu")
            .query(&mut self.connection()?)?;
        let seconds: f64 = ["used_cpu_sys:", "used_cpu_user:"]
            .iter()
            .filter_map(|name| value(&info, name)?.parse::<f64>().ok())
            .sum();
        Ok((seconds * 1e9) as u64)
    }

    /// How often a command was called so far.
    pub(crate) fn calls(&self, command: &str) -> Result<u64, BenchError> {
        let mut connection = self.connection()?;
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut connection)?;
        let calls = value(&info, &format!("cmdstat_{command}:calls="));
        Ok(calls
            .and_then(|calls| calls.split(',').next()?.parse().ok())
            .unwrap_or(0))
    }

    /// Publishes at a fixed rate, from two connections in turn to two subscribers, as two nodes
    /// without any promises would. Returns the CPU time that this took Redis.
    pub(crate) fn bare_publish(
        &self,
        rate: f64,
        count: u64,
        bytes: usize,
    ) -> Result<u64, BenchError> {
        let channel = format!("hubbub-bench-bare:{:x}", fastrand::u64(..));
        thread::scope(|scope| {
            let listeners: Vec<_> = (0..2)
                .map(|_| {
                    let (connection, channel) = (self.connection(), &channel);
                    scope.spawn(move || listen(connection?, channel, count))
                })
                .collect();
            let mut publishers = [self.connection()?, self.connection()?];
            thread::sleep(READ);
            let before = self.cpu()?;
            let payload = vec![b'x'; bytes];
            let start = clock::now();
            for number in 0..count {
                thread::sleep(clock::until(start + (number as f64 / rate * 1e9) as u64));
                let publisher = &mut publishers[(number % 2) as usize];
                redis::cmd("PUBLISH")
                    .arg(&channel)
                    .arg(&payload)
                    .query::<()>(publisher)?;
            }
            let cpu = self.cpu()?.saturating_sub(before);
            for listener in listeners {
                listener
                    .join()
                    .map_err(|_| BenchError::Worker("a subscriber thread panicked".to_owned()))??;
            }
            Ok(cpu)
        })
    }
}

/// Receives `count` messages, or fails after two seconds without one.
fn listen(mut connection: Connection, channel: &str, count: u64) -> Result<(), BenchError> {
    connection.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut subscription = connection.as_pubsub();
    subscription.subscribe(channel)?;
    for _ in 0..count {
        subscription.get_message()?;
    }
    Ok(())
}

fn value<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found() {
        let info = "# CPU\r\nused_cpu_sys:1.5\r\nused_cpu_user:2.25\r\n";
        assert_eq!(value(info, "used_cpu_user:"), Some("2.25"));
        assert_eq!(value(info, "used_cpu:"), None);
    }
}
