// SPDX-License-Identifier: MIT
//! Deterministic mutations of good input, for the fuzzers: bit flips, cuts, splices, absurd numbers.

use std::{
    collections::BTreeMap,
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// What separates the parts of an input.
pub(crate) const CUT: &[u8] = b"\n~~~\n";

/// No single input may take longer: work is bounded by the input's size.
const LONGEST: Duration = Duration::from_secs(5);
/// No longer part of an input is made, in bytes.
const MAX_PART: usize = 64 << 10;

/// Where panics happened that were contained, how often, and the input of the first one.
static CONTAINED: Mutex<BTreeMap<String, (u64, String)>> = Mutex::new(BTreeMap::new());
static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// What the first part of an input is; all others are bytes.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Bytes,
    Text,
    Json,
}

/// The parts of an input.
pub(crate) fn parts(mut input: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(at) = input.windows(CUT.len()).position(|here| here == CUT) {
        parts.push(&input[..at]);
        input = &input[at + CUT.len()..];
    }
    parts.push(input);
    parts
}

/// The contents of all seeds whose names end in `suffix`, by name.
pub(crate) fn seeds(suffix: &str) -> BTreeMap<String, Vec<u8>> {
    let files = files(&corpus());
    let seeds = files.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(suffix)?.to_owned();
        Some((name, fs::read(&path).expect("a seed")))
    });
    seeds.collect()
}

/// Whole inputs that were kept for the target `name`.
pub(crate) fn kept(name: &str) -> Vec<Vec<u8>> {
    let files = files(&corpus().join(name)).into_iter();
    files
        .map(|path| fs::read(path).expect("an input"))
        .collect()
}

/// Whole catalogs, each with a frame.
pub(crate) fn catalogs() -> Vec<Vec<u8>> {
    let catalogs = seeds(".json").into_values();
    let inputs = catalogs.map(|catalog| [&catalog[..], b"\0frame"].join(CUT));
    inputs.chain(kept("catalog")).collect()
}

fn corpus() -> PathBuf {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut found = above.map(|place| place.join("tests/corpus"));
    found
        .find(|path| path.is_dir())
        .expect("the corpus is there")
}

fn files(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path).into_iter().flatten();
    let files = files.map(|file| file.expect("a file").path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Calls `run` with the `seeds` and then with changed ones for `FUZZ_SECONDS` (5 by default), from the
/// seed `FUZZ_SEED`.
pub(crate) fn fuzz(form: Form, seeds: &[Vec<u8>], run: impl Fn(&[u8])) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(5));
    let mut mutator = Mutator::new(number("FUZZ_SEED").unwrap_or(1));
    let default = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let mut contained = CONTAINED.lock().unwrap_or_else(PoisonError::into_inner);
        contained.entry(place).or_insert_with(|| (0, input())).0 += 1;
    }));
    let mut given = seeds.iter();
    let mut count = 0_u64;
    let mut failure = None;
    while failure.is_none() && (given.len() > 0 || Instant::now() < end) {
        let next = given.next().cloned();
        let input = next.unwrap_or_else(|| mutator.input(form, seeds));
        INPUT
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&input);
        let begun = Instant::now();
        failure = panic::catch_unwind(AssertUnwindSafe(|| run(&input))).err();
        if begun.elapsed() > LONGEST {
            failure = Some(Box::new("it took too long"));
        }
        count += 1;
    }
    panic::set_hook(default);
    eprintln!("{count} inputs");
    let contained = CONTAINED.lock().unwrap_or_else(PoisonError::into_inner);
    for (place, (times, input)) in contained.iter() {
        eprintln!("{times} panics at {place}, first with {input}");
    }
    if let Some(failure) = failure {
        let text = failure.downcast_ref::<String>().cloned();
        let text = text.or_else(|| failure.downcast_ref::<&str>().map(|text| (*text).into()));
        panic!("{}\nwith {}", text.unwrap_or_default(), input());
    }
}

/// The input at hand, as a person can read it and write it into a file.
fn input() -> String {
    let input = INPUT.lock().unwrap_or_else(PoisonError::into_inner);
    format!("b\"{}\"", input.escape_ascii())
}

/// Draws inputs.
pub(crate) struct Mutator(fastrand::Rng);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// One of the `seeds`, changed.
    fn input(&mut self, form: Form, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(seeds).clone();
        for _ in 0..1 + self.below(3) {
            input = self.change(form, &input, seeds);
        }
        input
    }

    /// The same input with one part changed, perhaps by what `others` have in its place.
    pub(crate) fn change(&mut self, form: Form, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut parts = parts(input);
        let at = self.below(parts.len());
        let other = self.pick(others);
        let other = self::parts(other).get(at).map(|part| part.to_vec());
        let seeds = [parts[at].to_vec(), other.unwrap_or_default()];
        let changed = match form {
            Form::Text if at == 0 => self.text(&seeds).into_bytes(),
            Form::Json if at == 0 => self.json(&seeds),
            _ => self.bytes(&seeds),
        };
        parts[at] = &changed;
        parts.join(CUT)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A number at an edge, or any.
    fn number(&mut self) -> u64 {
        let shift = self.0.u32(..64);
        let edge = 1_u64 << shift;
        match self.below(4) {
            0 => edge - 1,
            1 => edge,
            2 => self.0.u64(..) >> shift,
            _ => u64::MAX - (self.0.u64(..) >> shift),
        }
    }

    /// One of the `seeds`, damaged.
    fn bytes(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut out = self.pick(seeds).clone();
        for _ in 0..self.below(6) {
            self.damage(&mut out, seeds);
        }
        out.truncate(MAX_PART);
        out
    }

    fn damage(&mut self, out: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(out.len());
        let end = (at + self.below(64)).min(out.len());
        match self.below(9) {
            0 => out.truncate(at),
            1 => drop(out.drain(at..end)),
            2 => {
                let part = out[at..end].to_vec();
                out.splice(at..at, part);
            }
            3 => {
                let other = self.pick(seeds);
                let from = self.below(other.len());
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
            4 => {
                let noise: Vec<u8> = (0..self.below(32)).map(|_| self.0.u8(..)).collect();
                out.splice(at..end, noise);
            }
            5 => {
                let number = self.number().to_be_bytes();
                let length = 1 << self.below(4);
                let bytes = number[8 - length..].iter();
                out.iter_mut()
                    .skip(at)
                    .zip(bytes)
                    .for_each(|(b, n)| *b = *n);
            }
            _ if out.is_empty() => {}
            6 => out[at] = *self.pick(&[0, 1, 3, 0x7f, 0x80, 0xfe, 0xff]),
            _ => out[at] ^= 1 << self.below(8),
        }
    }

    /// One of the `seeds`, with other words and numbers in it.
    fn text(&mut self, seeds: &[Vec<u8>]) -> String {
        let mut text = match self.one_in(3) {
            true => String::from_utf8_lossy(&self.bytes(seeds)).into_owned(),
            false => String::from_utf8_lossy(self.pick::<Vec<u8>>(seeds)).into_owned(),
        };
        for _ in 0..self.below(4) {
            let other = String::from_utf8_lossy(self.pick::<Vec<u8>>(seeds)).into_owned();
            let split = |text: &str| {
                text.split_inclusive([',', '=', ')', '\n', ' '])
                    .map(str::to_owned)
                    .collect()
            };
            let (mut words, others): (Vec<String>, Vec<String>) = (split(&text), split(&other));
            let word = match self.below(3) {
                0 => format!("{}, ", self.number()),
                1 => format!("-{}, ", self.number()),
                _ if others.is_empty() => String::new(),
                _ => self.pick(&others).clone(),
            };
            let at = self.below(words.len());
            match self.below(3) {
                0 => words.insert(at.min(words.len()), word),
                _ if words.is_empty() => {}
                1 => drop(words.remove(at)),
                _ => words[at] = word,
            }
            text = words.concat();
        }
        text
    }

    /// One of the `seeds`, with other values in it.
    fn json(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let seeds: Vec<Value> = seeds
            .iter()
            .map(|text| serde_json::from_slice(text).unwrap_or_default())
            .collect();
        let mut value = self.pick(&seeds).clone();
        for _ in 0..self.below(6) {
            let new = match self.one_in(2) {
                true => self.value(),
                false => {
                    let mut other = self.pick(&seeds).clone();
                    self.descend(&mut other).take()
                }
            };
            *self.descend(&mut value) = new;
        }
        value.to_string().into_bytes()
    }

    fn value(&mut self) -> Value {
        let number = self.number();
        match self.below(9) {
            0 => Value::Null,
            1 => number.into(),
            2 => (number as i64).into(),
            3 => json!(f64::from_bits(number)),
            4 => number.is_multiple_of(2).into(),
            5 => (*self.pick(&["", "\0", "a\0b", "..", "NaN"])).into(),
            6 => "\u{1f3a5}".repeat(self.below(2000)).into(),
            7 => format!("{number:x}").into(),
            _ => json!([[{"a": []}]]),
        }
    }

    /// A node somewhere within `value`.
    fn descend<'a>(&mut self, mut value: &'a mut Value) -> &'a mut Value {
        loop {
            let size = match &*value {
                Value::Array(items) => items.len(),
                Value::Object(fields) => fields.len(),
                _ => 0,
            };
            if size == 0 || self.one_in(6) {
                return value;
            }
            let at = self.below(size);
            let next = match value {
                Value::Array(items) => items.get_mut(at),
                Value::Object(fields) => fields.values_mut().nth(at),
                _ => None,
            };
            value = next.expect("it has so many");
        }
    }
}
