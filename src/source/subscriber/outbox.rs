// SPDX-License-Identifier: MIT
//! The way from the subscriber to the thread of a pad.

use std::sync::{Arc, mpsc};

use crate::{
    element::sync::SendOrDrop,
    source::message::{AppEvent, LatestSlot, Message},
};

/// What is sent to a pad, whose thread takes messages once the pad was linked.
pub(super) struct PadOutbox {
    messages: mpsc::Sender<Message>,
    /// What the thread has to know when it begins: the last message of each sort. `None` once it runs.
    unread: Option<Vec<Message>>,
    /// What of the sort waits for the thread.
    collection: Arc<LatestSlot<gst::StreamCollection>>,
    tags: Arc<LatestSlot<gst::TagList>>,
}

impl PadOutbox {
    pub(super) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self {
            messages,
            unread: Some(Vec::new()),
            collection: Arc::default(),
            tags: Arc::default(),
        }
    }

    /// The pad was linked.
    pub(super) fn open(&mut self) {
        for message in self.unread.take().unwrap_or_default() {
            self.messages.send_or_drop(message);
        }
    }

    pub(super) fn send(&mut self, mut message: Message) {
        let Some(unread) = &mut self.unread else {
            return self.messages.send_or_drop(message);
        };
        if let Message::Caps { revived, .. } = &mut message {
            // An end may wait before those that are replaced.
            let revives =
                |earlier: &Message| matches!(earlier, Message::Caps { revived: true, .. });
            *revived |= unread.iter().any(revives);
        }
        unread.retain(|earlier| !message.replaces(earlier));
        unread.push(message);
    }

    /// Sends an event of the application; a pad that was never linked keeps the sticky ones alone.
    pub(super) fn send_event(&mut self, event: AppEvent) {
        if self.unread.is_none() || event.is_sticky() {
            self.send(Message::Event(event));
        }
    }

    pub(super) fn send_collection(&mut self, collection: gst::StreamCollection) {
        if self.collection.replace(collection) {
            self.send(Message::Collection(self.collection.clone()));
        }
    }

    pub(super) fn send_tags(&mut self, tags: gst::TagList) {
        if self.tags.replace(tags) {
            self.send(Message::Tags(self.tags.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(name: &str, revived: bool) -> Message {
        let caps = gst::Caps::new_empty_simple(name);
        Message::Caps { caps, revived }
    }

    #[test]
    fn a_pad_that_is_linked_late_takes_the_last_message_of_each_sort() {
        gst::init().expect("GStreamer initializes");
        let (sender, messages) = mpsc::channel();
        let mut outbox = PadOutbox::new(sender);
        outbox.send(caps("video/x-vp8", false));
        outbox.send(Message::Eos(None));
        outbox.send(caps("video/x-vp9", true));
        outbox.send(caps("video/x-av1", false));
        outbox.send(Message::Pause);
        assert!(messages.try_recv().is_err(), "it was not linked yet");
        outbox.open();
        outbox.send(Message::Eos(None));
        drop(outbox);
        let taken: Vec<Message> = messages.iter().collect();
        let [
            Message::Eos(_),
            Message::Caps {
                caps,
                revived: true,
            },
            Message::Pause,
            Message::Eos(_),
        ] = &taken[..]
        else {
            panic!("{} messages", taken.len())
        };
        assert_eq!(caps.to_string(), "video/x-av1");
    }

    #[test]
    fn a_pad_that_was_never_linked_keeps_sticky_events_alone() {
        gst::init().expect("GStreamer initializes");
        let (sender, messages) = mpsc::channel();
        let mut outbox = PadOutbox::new(sender);
        let place = Arc::new(());
        let send = |outbox: &mut PadOutbox, event: gst::Event| {
            outbox.send_event(AppEvent::new(event, &place).expect("room"));
        };
        let custom = || gst::event::CustomDownstream::new(gst::Structure::new_empty("custom"));
        send(&mut outbox, custom());
        send(&mut outbox, gst::event::Tag::new(gst::TagList::new()));
        outbox.open();
        send(&mut outbox, custom());
        let types: Vec<gst::EventType> = messages
            .try_iter()
            .filter_map(|message| match message {
                Message::Event(event) => Some(event.into_inner().type_()),
                _ => None,
            })
            .collect();
        assert_eq!(
            types,
            [gst::EventType::Tag, gst::EventType::CustomDownstream]
        );
    }
}
