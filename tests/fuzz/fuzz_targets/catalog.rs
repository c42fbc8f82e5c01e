#![no_main]

fuzz::target!("catalog");
