//! Every pipeline of the README parses with the elements and properties that there are, and those that
//! encode, also of the documentation, publish what every device decodes.

mod common;

use common::{
    Running, init,
    pipeline::{DEADLINE, wait_message},
};
use gst::prelude::*;
use gstmoq::media::{
    container::kind::Container,
    format::codec::{CODECS, Codec},
};

const README: &str = include_str!("../README.md");

/// What documents the elements and the examples, as comments.
const DOCS: [&str; 4] = [
    include_str!("../src/sink/mod.rs"),
    include_str!("../src/source/mod.rs"),
    include_str!("../examples/publish.rs"),
    include_str!("../examples/soak/main.rs"),
];

/// The profiles of H.264 with 4:2:0 and 8 bits, which hardware and browsers decode.
const PROFILES: [&str; 6] = [
    "constrained-baseline",
    "baseline",
    "main",
    "high",
    "constrained-high",
    "progressive-high",
];

/// The options of `gst-launch-1.0` that the README uses.
const OPTIONS: [&str; 4] = ["-e", "-m", "-q", "-v"];

#[test]
fn every_pipeline_of_the_readme_parses() {
    init();
    let pipelines: Vec<_> = commands(README)
        .iter()
        .filter_map(|command| pipeline(command))
        .collect();
    assert!(
        pipelines.len() >= 4,
        "the README has pipelines for publish, play, record and file to broadcast"
    );
    for words in pipelines {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let parsed = gst::parse::launchv_full(&words, None, gst::ParseFlags::FATAL_ERRORS);
        if let Err(error) = parsed {
            panic!("this pipeline parses: {error}\n  {}", words.join(" "));
        }
    }
}

#[test]
fn every_encoder_makes_what_every_device_decodes() {
    init();
    let docs = DOCS.map(|text| text.replace("//! ", "").replace("//!", ""));
    let texts = docs.iter().map(String::as_str).chain([README]);
    let encoders: Vec<_> = texts
        .flat_map(commands)
        .filter_map(|command| pipeline(&command))
        .flat_map(|words| chains(&words))
        .filter(|chain| chain.iter().any(|element| element.starts_with("x264enc")))
        .collect();
    assert!(
        encoders.len() >= 5,
        "the test picture, a camera, a camera with data, two examples: {encoders:?}"
    );
    for chain in encoders {
        let profile = profile(&chain);
        assert!(
            PROFILES.contains(&profile.as_str()),
            "{profile} by {}",
            chain.join(" ! ")
        );
    }
}

/// The profile that the encoder of a chain makes of a source that has every raw format.
fn profile(chain: &[String]) -> String {
    let [_source, elements @ .., _sink] = chain else {
        panic!("a chain has a source and a sink: {chain:?}")
    };
    let running = Running::play(&format!(
        "videotestsrc num-buffers=1 ! {} ! fakesink name=out",
        elements.join(" ! ")
    ));
    wait_message(&running.bus(), &[gst::MessageType::Eos], DEADLINE);
    let pad = running.element("out").static_pad("sink").expect("a pad");
    let caps = pad.current_caps().expect("an encoder gives caps");
    let caps = caps.structure(0).expect("fixed caps");
    caps.get("profile").expect("h264parse tells the profile")
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(
        split(r#"a "b c" 'd "e"' f="g h""#),
        ["a", "b c", r#"d "e""#, "f=g h"]
    );
}

/// The commands of the shell blocks, each on one line.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```sh";
            commands.push(String::new());
            continue;
        }
        if let (true, Some(command)) = (inside, commands.last_mut()) {
            match line.strip_suffix('\\') {
                Some(part) => command.push_str(part),
                None => {
                    command.push_str(line);
                    commands.push(String::new());
                }
            }
        }
    }
    commands
}

/// The words of the pipeline that a command launches, if it does.
fn pipeline(command: &str) -> Option<Vec<String>> {
    let words = split(command);
    let program = words.iter().position(|word| word == "gst-launch-1.0")?;
    let words = words.into_iter().skip(program + 1);
    Some(
        words
            .skip_while(|word| OPTIONS.contains(&word.as_str()))
            .collect(),
    )
}

/// The chains of a pipeline, each as its elements with their properties.
fn chains(words: &[String]) -> Vec<Vec<String>> {
    let mut chains: Vec<Vec<String>> = Vec::new();
    let mut linked = false;
    for word in words {
        match (word.as_str(), chains.last_mut()) {
            ("!", _) => {
                linked = true;
                continue;
            }
            (_, Some(chain)) if linked => chain.push(word.clone()),
            (_, Some(chain)) if word.contains('=') => {
                let element = chain.last_mut().expect("a chain has an element");
                element.push(' ');
                element.push_str(word);
            }
            _ => chains.push(vec![word.clone()]),
        }
        linked = false;
    }
    chains
}

/// Splits at spaces outside of quotes, and takes the quotes away.
fn split(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for character in command.chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, ' ') if word.is_empty() => (),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Caps as people write them: without types, each alternative in a code span of its own.
fn readable(caps: &str) -> String {
    let mut caps = caps.to_owned();
    for type_ in ["(string)", "(int)", "(boolean)"] {
        caps = caps.replace(type_, "");
    }
    let spans = caps.split(';').map(|one| format!("`{}`", one.trim()));
    spans.collect::<Vec<_>>().join(", ")
}

fn row(codec: &Codec) -> String {
    let (takes, gives) = (readable(codec.sink_caps), readable(codec.src_caps));
    let gives = match takes == gives {
        true => "the same".to_owned(),
        false => gives,
    };
    format!(
        "| {} | {} | {takes} | {gives} |",
        codec.kind.name(),
        codec.name
    )
}

#[test]
fn the_readme_has_the_codec_table_as_it_is() {
    let expected: Vec<String> = CODECS.iter().map(row).collect();
    let (_, after) = README.split_once("| kind | codec |").expect("a table");
    let rows = after.lines().skip(2);
    let found: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(found, expected, "\n{}\n", expected.join("\n"));
    for container in [Container::Legacy, Container::Loc, Container::Cmaf] {
        let name = format!("{container:?}").to_lowercase();
        assert!(README.contains(&format!("`{name}`")), "{name}");
    }
}
