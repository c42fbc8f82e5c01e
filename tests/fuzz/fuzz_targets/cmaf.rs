// SPDX-License-Identifier: MIT

#![no_main]

fuzz::target!("cmaf");
