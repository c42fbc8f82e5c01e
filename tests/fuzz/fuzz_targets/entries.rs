#![no_main]

fuzz::target!("entries");
