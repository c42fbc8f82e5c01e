//! Every pipeline of the README parses with the elements and properties that there are.

mod common;

use common::init;

const README: &str = include_str!("../README.md");

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
