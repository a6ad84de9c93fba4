//! Readiness of sockets: epoll, level-triggered.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::clock::timespec;

/// Events taken in one call.
const EVENTS: usize = 1024;

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Watches a socket until it is closed; with `writable`, also for room to write.
    pub(crate) fn add(&self, socket: &impl AsFd, key: usize, writable: bool) -> io::Result<()> {
        epoll::add(
            &self.epoll,
            socket,
            EventData::new_u64(key as u64),
            flags(writable),
        )?;
        Ok(())
    }

    pub(crate) fn change(&self, socket: &impl AsFd, key: usize, writable: bool) -> io::Result<()> {
        epoll::modify(
            &self.epoll,
            socket,
            EventData::new_u64(key as u64),
            flags(writable),
        )?;
        Ok(())
    }

    /// Waits up to `wait` and puts the keys of the ready sockets into `ready`.
    pub(crate) fn wait(&mut self, wait: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        self.events.clear();
        let buffer = spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, Some(&timespec(wait))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.clear();
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}

fn flags(writable: bool) -> EventFlags {
    if writable {
        EventFlags::IN | EventFlags::OUT
    } else {
        EventFlags::IN
    }
}
