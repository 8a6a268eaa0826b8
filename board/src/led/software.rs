//! Blinking by a thread, for kernels without the `pattern` trigger.
//!
//! The thread holds the same lease as the kernel would: without a new showing for
//! [`LEASE`](super::LEASE) it turns the lamp off and waits. It ends with its owner, lamp off.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{LEASE, Lamp};
use crate::PanelError;
use crate::pattern::Pattern;

/// The owner's end of the thread.
#[derive(Debug)]
pub(super) struct Blinker {
    orders: Sender<Pattern>,
    /// The last failed write, to be told at the next showing.
    trouble: Arc<Mutex<Option<PanelError>>>,
}

impl Blinker {
    pub(super) fn new(lamp: Lamp) -> Self {
        Self::with_lease(lamp, LEASE)
    }

    pub(super) fn with_lease(lamp: Lamp, lease: Duration) -> Self {
        let (orders, inbox) = channel();
        let trouble = Arc::new(Mutex::new(None));
        let worker = Worker { lamp, lease, inbox, trouble: Arc::clone(&trouble) };
        thread::spawn(move || worker.run());
        Self { orders, trouble }
    }

    /// Starts a pattern, or renews the lease of the one that is running.
    pub(super) fn show(&self, pattern: Pattern) -> Result<(), PanelError> {
        // The thread ends only with this sender.
        let _ = self.orders.send(pattern);
        match self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

struct Worker {
    lamp: Lamp,
    lease: Duration,
    inbox: Receiver<Pattern>,
    trouble: Arc<Mutex<Option<PanelError>>>,
}

impl Worker {
    fn run(self) {
        let mut order = self.inbox.recv().ok();
        while let Some(pattern) = order {
            order = self.play(pattern);
            self.light(false);
            if order.is_none() {
                order = self.inbox.recv().ok();
            }
        }
    }

    /// Blinks until another pattern is ordered, which is returned, or the lease or its owner ends.
    fn play(&self, pattern: Pattern) -> Option<Pattern> {
        let mut end = Instant::now() + self.lease;
        let mut lit = None;
        loop {
            for frame in pattern.frames() {
                if lit != Some(frame.lit) {
                    self.light(frame.lit);
                    lit = Some(frame.lit);
                }
                let until = Instant::now() + Duration::from_millis(frame.millis.into());
                loop {
                    let now = Instant::now();
                    if now >= end {
                        return None;
                    }
                    if now >= until {
                        break;
                    }
                    match self.inbox.recv_timeout(until.min(end) - now) {
                        Ok(order) if order == pattern => end = Instant::now() + self.lease,
                        Ok(order) => return Some(order),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => return None,
                    }
                }
            }
        }
    }

    fn light(&self, lit: bool) {
        let brightness = if lit { self.lamp.brightest() } else { 0 };
        if let Err(error) = self.lamp.write("brightness", &brightness.to_string()) {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}
