// SPDX-License-Identifier: MIT
//! What the application hears of broadcasts: which there are beneath a prefix, and which one is taken.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use gst::{
    glib::{self, subclass::Signal},
    prelude::*,
};

use crate::element::{app_queue::AppQueue, bus, sync::lock};

const ADDED: [&str; 2] = ["moq-broadcast-added", "broadcast-added"];
const REMOVED: [&str; 2] = ["moq-broadcast-removed", "broadcast-removed"];
/// The property with the name of the broadcast that is taken.
const ACTIVE: &str = "active-broadcast";

/// So many changes are told at once, and the next ones after the interval: announcements by the thousand
/// must fill neither the application's bus nor its time.
const MAX_BATCH: usize = 100;
const INTERVAL: Duration = Duration::from_millis(100);

/// The signals of the element, each with the name of a broadcast.
pub(crate) fn signals() -> [Signal; 2] {
    [ADDED[1], REMOVED[1]].map(|name| {
        Signal::builder(name)
            .param_types([String::static_type()])
            .build()
    })
}

/// What is told of broadcasts; written by the subscriber, told by the application's queue.
///
/// Each broadcast is told to be removed once for each time that it was told to be added, and never before.
#[derive(Debug, Default)]
pub(crate) struct Discovery(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    active: Option<String>,
    changes: Changes,
    /// A job of the queue tells what is due.
    telling: bool,
    /// When the last one has begun.
    told_at: Option<Instant>,
}

impl Discovery {
    /// The broadcast whose tracks the pads give, or gave last.
    pub(crate) fn active(&self) -> Option<String> {
        self.state().active.clone()
    }

    /// Another broadcast is taken; `told` says that a message tells of it, too.
    pub(super) fn set_active(&self, name: &str, told: bool, queue: &Arc<AppQueue>) {
        let before = self.state().active.replace(name.to_owned());
        if before.as_deref() == Some(name) {
            return;
        }
        let broadcast = name.to_owned();
        queue.send(move |element| {
            element.notify(ACTIVE);
            if told {
                bus::post_element(element, "moq-broadcast-selected", |s| {
                    s.field("broadcast", broadcast)
                });
            }
        });
    }

    /// A broadcast has appeared.
    pub(super) fn add(&self, name: &str) {
        self.state().changes.add(name);
    }

    /// It has gone.
    pub(super) fn remove(&self, name: &str) {
        self.state().changes.remove(name);
    }

    /// When [`Discovery::tell`] is to be called, if there is something to tell.
    pub(super) fn due(&self) -> Option<Instant> {
        let state = self.state();
        let waits = !state.changes.is_empty();
        waits.then(|| {
            let told_at = state.told_at;
            told_at.map_or_else(Instant::now, |told_at| told_at + INTERVAL)
        })
    }

    /// Has the application told of what has changed.
    pub(super) fn tell(self: &Arc<Self>, queue: &Arc<AppQueue>) {
        let mut state = self.state();
        state.told_at = Some(Instant::now());
        if std::mem::replace(&mut state.telling, true) {
            return;
        }
        drop(state);
        let (this, current) = (self.clone(), queue.clone());
        queue.send(move |element| {
            for _ in 0..MAX_BATCH {
                // What waits when the run ends is told by the one who ends it.
                let change = match current.is_closed() {
                    true => None,
                    false => this.state().changes.next(),
                };
                let Some((name, is_there)) = change else {
                    break;
                };
                emit(element, &name, is_there);
            }
            this.state().telling = false;
        });
    }

    /// The run has ended, and its queue is closed: what the application believes to be there is gone.
    pub(crate) fn reset(&self, element: &gst::Element) {
        let state = std::mem::take(&mut *self.state());
        for name in state.changes.told {
            emit(element, &name, false);
        }
        if state.active.is_some() {
            element.notify(ACTIVE);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// Tells the application of one change.
fn emit(element: &gst::Element, name: &str, is_there: bool) {
    let [message, signal] = if is_there { ADDED } else { REMOVED };
    bus::post_element(element, message, |s| s.field("broadcast", name));
    if element.is::<super::MoqSrc>() {
        element.emit_by_name::<()>(signal, &[&name]);
    }
}

/// What was not told yet, in order. What comes and goes meanwhile is left out: so there are never more than
/// two for each broadcast that was told, and one for each that is there.
#[derive(Debug, Default)]
struct Changes {
    waiting: BTreeMap<u64, (glib::GString, bool)>,
    /// The places of those that have come.
    added: HashMap<glib::GString, u64>,
    next: u64,
    /// What the application was told to be there.
    told: BTreeSet<glib::GString>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, name: &str) {
        let name = glib::GString::from(name);
        self.added.insert(name.clone(), self.next);
        self.push(name, true);
    }

    fn remove(&mut self, name: &str) {
        match self.added.remove(name) {
            Some(place) => drop(self.waiting.remove(&place)),
            None => self.push(name.into(), false),
        }
    }

    fn push(&mut self, name: glib::GString, is_there: bool) {
        self.waiting.insert(self.next, (name, is_there));
        self.next += 1;
    }

    /// Takes the oldest one, which is told now.
    fn next(&mut self) -> Option<(glib::GString, bool)> {
        let (_, (name, is_there)) = self.waiting.pop_first()?;
        match is_there {
            true => {
                self.added.remove(&name);
                self.told.insert(name.clone());
            }
            false => drop(self.told.remove(&name)),
        }
        Some((name, is_there))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(changes: &mut Changes) -> Vec<(String, bool)> {
        std::iter::from_fn(|| changes.next())
            .map(|(name, is_there)| (name.into(), is_there))
            .collect()
    }

    #[test]
    fn what_comes_and_goes_before_it_is_told_is_left_out() {
        let mut changes = Changes::default();
        changes.add("a");
        changes.add("b");
        changes.remove("a");
        assert_eq!(drain(&mut changes), [("b".into(), true)]);
        for _ in 0..1000 {
            changes.remove("b");
            changes.add("b");
            changes.add("c");
            changes.remove("c");
        }
        assert!(changes.waiting.len() <= 2, "{changes:?}");
        assert_eq!(
            drain(&mut changes),
            [("b".into(), false), ("b".into(), true)]
        );
        changes.remove("b");
        assert_eq!(drain(&mut changes), [("b".into(), false)]);
        assert!(changes.told.is_empty() && changes.added.is_empty());
    }
}
