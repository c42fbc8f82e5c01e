#![no_main]

fuzz::target!("text");
