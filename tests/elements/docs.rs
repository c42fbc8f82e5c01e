// SPDX-License-Identifier: MIT
//! README, docs and the documentation of the elements and examples are true: pipelines parse, encoders make what
//! every device decodes, and what the code has is documented.

use std::{collections::BTreeSet, fs, path::Path};

use gst::{glib, prelude::*};
use gstmoq::media::{
    container::kind::Container,
    format::codec::{CODECS, Codec},
};

use crate::common::pipeline::{DEADLINE, Running, init, wait_message};

/// The text of a file of this repository.
fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a folder whose names end with `suffix`.
fn files(folder: &str, suffix: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = format!("{folder}/{name}");
        if entry.file_type().expect("a type").is_dir() {
            found.extend(files(&path, suffix));
        } else if name.ends_with(suffix) {
            found.push(path);
        }
    }
    found
}

/// README and docs, by path.
fn pages() -> Vec<(String, String)> {
    let mut pages = files("docs", ".md");
    pages.push("README.md".into());
    let read = |path: String| (path.clone(), read(&path));
    pages.into_iter().map(read).collect()
}

/// The documentation in the comments of the elements and the examples.
fn comments() -> Vec<(String, String)> {
    let paths = [
        "src/sink/mod.rs",
        "src/source/mod.rs",
        "examples/publish.rs",
        "examples/play.rs",
        "examples/demo/main.rs",
        "examples/soak/main.rs",
    ];
    let comments = paths.map(|path| {
        let text = read(path);
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("//!").or(line.strip_prefix(" *"))?;
            Some(rest.strip_prefix(' ').unwrap_or(rest))
        });
        (path.to_owned(), lines.collect::<Vec<_>>().join("\n"))
    });
    comments.into()
}

/// The words of every documented pipeline, with the path of its file.
fn pipelines() -> Vec<(String, Vec<String>)> {
    let documents = pages().into_iter().chain(comments());
    let pipelines = documents.flat_map(|(path, text)| {
        let pipelines: Vec<_> = commands(&text)
            .iter()
            .filter_map(|command| pipeline(command))
            .collect();
        pipelines
            .into_iter()
            .map(move |words| (path.clone(), words))
    });
    pipelines.collect()
}

/// The profiles of H.264 with 4:2:0 and 8 bits, which hardware and browsers decode.
const PROFILES: [&str; 6] = [
    "constrained-baseline",
    "baseline",
    "main",
    "high",
    "constrained-high",
    "progressive-high",
];

/// The options of `gst-launch-1.0` that documented pipelines use.
const OPTIONS: [&str; 4] = ["-e", "-m", "-q", "-v"];

#[test]
fn every_documented_pipeline_parses() {
    init();
    gstfallbackswitch::plugin_register_static().expect("the plugin registers");
    let pipelines = pipelines();
    for (path, least) in [
        ("README.md", 4),
        ("src/sink/mod.rs", 5),
        ("src/source/mod.rs", 5),
        ("examples/publish.rs", 1),
        ("examples/play.rs", 1),
        ("examples/demo/main.rs", 2),
        ("examples/soak/main.rs", 2),
    ] {
        let found = pipelines.iter().filter(|(of, _)| of == path).count();
        assert!(found >= least, "{path} has {found} pipelines");
    }
    for (path, words) in pipelines {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let parsed = gst::parse::launchv_full(&words, None, gst::ParseFlags::FATAL_ERRORS);
        if let Err(error) = parsed {
            panic!(
                "this pipeline of {path} parses: {error}\n  {}",
                words.join(" ")
            );
        }
    }
}

#[test]
fn every_encoder_makes_what_every_device_decodes() {
    init();
    let chains = pipelines()
        .into_iter()
        .flat_map(|(_, words)| chains(&words));
    let encoders: Vec<_> = chains
        .filter(|chain| chain.iter().any(|element| element.starts_with("x264enc")))
        .collect();
    assert!(
        encoders.len() >= 6,
        "test videos of README, moqsink and two examples, two cameras: {encoders:?}"
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

#[test]
fn every_source_file_states_its_licence() {
    let folders = ["src", "tests", "examples", "benches"];
    let paths: Vec<_> = folders
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .collect();
    assert!(paths.len() > 100, "{} files", paths.len());
    for path in paths {
        let stated = read(&path).starts_with("// SPDX-License-Identifier: MIT\n");
        assert!(stated, "{path} begins with its licence");
    }
}

/// The code spans of a text.
fn spans(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_property_is_documented() {
    init();
    let page = read("docs/properties.md");
    let documented = spans(&page);
    for name in ["moqsink", "moqsrc"] {
        let element = gst::ElementFactory::make(name).build().expect("an element");
        let templates = element.pad_template_list();
        let pads = templates.iter().map(|pad| pad.property("gtype"));
        let types: BTreeSet<glib::Type> = pads.chain([element.type_()]).collect();
        for type_ in types {
            let class = glib::Class::<glib::Object>::from_type(type_).expect("a class");
            for property in class.list_properties() {
                let own = property.owner_type() == type_;
                let name = property.name();
                assert!(!own || documented.contains(name), "{type_}.{name}");
            }
        }
    }
}

#[test]
fn every_statistic_and_message_is_documented() {
    let sink = ("src/sink/stats.rs", vec!["src/sink/mod.rs"]);
    let source = ("src/source/stats.rs", vec!["src/source/mod.rs"]);
    let net = (
        "src/net/stats.rs",
        vec!["src/sink/mod.rs", "src/source/mod.rs"],
    );
    let page = read("docs/statistics.md");
    for (path, mut documents) in [sink, source, net] {
        documents.push("docs/statistics.md");
        let code = read(path);
        let fields = code.split(".field").skip(1);
        let fields: Vec<&str> = fields.filter_map(|field| field.split('"').nth(1)).collect();
        assert!(fields.len() > 8, "{path} has {fields:?}");
        for document in documents {
            let text = read(document);
            let documented = spans(&text);
            for field in &fields {
                assert!(
                    documented.contains(field),
                    "{field} of {path} in {document}"
                );
            }
        }
    }
    let properties = read("docs/properties.md");
    let documented = spans(&page);
    let documented: BTreeSet<_> = documented.union(&spans(&properties)).copied().collect();
    let code: String = files("src", ".rs").iter().map(|path| read(path)).collect();
    let names = code.split('"').filter(|name| name.starts_with("moq-"));
    let messages: BTreeSet<&str> = names
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    assert!(
        messages.len() >= 8,
        "six messages, two structures: {messages:?}"
    );
    for message in messages {
        assert!(documented.contains(message), "{message}");
    }
}

#[test]
fn every_link_leads_to_a_file() {
    let mut count = 0;
    for (path, text) in pages() {
        let folder = Path::new(&path).parent().expect("a folder");
        for link in text.split("](").skip(1) {
            let (target, _) = link.split_once(')').expect("a link ends");
            let (file, _) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") || file.is_empty() {
                continue;
            }
            let file = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(folder)
                .join(file);
            assert!(file.exists(), "{target} in {path}");
            count += 1;
        }
    }
    assert!(count >= 10, "{count} links");
}

#[test]
fn every_test_that_docs_name_exists() {
    let mut paths = files("tests", ".rs");
    paths.extend(files("src", ".rs"));
    let code: String = paths.iter().map(|path| read(path)).collect();
    let mut count = 0;
    for page in ["docs/network.md", "docs/timestamps.md"] {
        let text = read(page);
        let rows = text.lines().filter(|line| line.starts_with("| "));
        let cells = rows.filter_map(|row| row.strip_suffix(" |")?.rsplit(" | ").next());
        for name in cells.flat_map(spans) {
            let exists = match name.strip_suffix("::") {
                Some(module) => paths
                    .iter()
                    .any(|path| path.ends_with(&format!("/{module}.rs"))),
                None => code.contains(&format!("fn {name}")),
            };
            assert!(exists, "{name} in {page}");
            count += 1;
        }
    }
    assert!(count >= 20, "{count} tests");
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
    caps.get("profile").expect("h264parse gives the profile")
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(
        split(r#"a "b c" 'd "e"' f="g h""#),
        ["a", "b c", r#"d "e""#, "f=g h"]
    );
}

/// The commands of the shell blocks, each on one line; hotdoc's are between `|[` and `]|`.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") || line == "|[" || line.starts_with("]|") {
            inside = line == "```sh" || line == "|[";
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
fn docs_have_the_codec_table_as_it_is() {
    let page = read("docs/codecs.md");
    let expected: Vec<String> = CODECS.iter().map(row).collect();
    let (_, after) = page.split_once("| kind | codec |").expect("a table");
    let rows = after.lines().skip(2);
    let found: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(found, expected, "\n{}\n", expected.join("\n"));
    for container in [Container::Legacy, Container::Loc, Container::Cmaf] {
        let name = format!("{container:?}").to_lowercase();
        assert!(spans(&page).contains(name.as_str()), "{name}");
    }
}
