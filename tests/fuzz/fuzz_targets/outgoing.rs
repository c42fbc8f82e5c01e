#![no_main]

fuzz::target!("outgoing");
