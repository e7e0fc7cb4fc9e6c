//! Any value and any argument, through the parser of the system that reads it.

use crate::export::{succeed, tools};
use crate::support::TestStack;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// So many services, each with a value and an argument of its own.
const MANY: usize = 250;

/// What formats quote, escape, expand, strip or end at; and letters of one to four bytes.
const ODD: &[char] = &[
    ' ', '\t', '\n', '\r', '"', '\'', '%', '$', '\\', ';', '#', '=', ',', '{', '}', '[', ']', '(', ')', ':', '&', '*', '!', '|', '>', '<',
    '@', '`', '~', '-', '?', '/', '.', '+', '^', '_', '0', '9', 'a', 'n', 'x', 'N', 'ü', 'ß', '漢', '\u{a0}', '\u{85}', '\u{2028}', '😀',
    '\u{1}', '\u{7f}',
];

/// The same each time: a red run means a changed program.
fn texts() -> Vec<String> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    (0..MANY).map(|_| (0..next(9)).map(|_| ODD[next(ODD.len())]).collect()).collect()
}

fn name(number: usize) -> String {
    format!("s{number:03}")
}

/// A string as TOML has it, in which everything can be said.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|it| if it.is_control() || matches!(it, '"' | '\\') { format!("\\u{:04x}", u32::from(it)) } else { it.to_string() })
        .collect();
    format!("\"{escaped}\"")
}

/// With the values and arguments of each service.
fn exported(target: &str) -> (TestStack, BTreeMap<String, String>) {
    let texts = texts();
    let service = |(number, text): (usize, &String)| {
        let (name, text) = (name(number), quoted(text));
        format!("[services.{name}]\ncommand = ['/bin/true', {text}, 'x']\nenv = {{ VALUE = {text} }}\nrestart = 'never'\n")
    };
    let stack = TestStack::new(&texts.iter().enumerate().map(service).collect::<String>());
    stack.run(&format!("export {target} --out exported")).ends_with(0);
    (stack, texts.into_iter().enumerate().map(|(number, text)| (name(number), text)).collect())
}

fn python(stack: &TestStack, program: &str) -> Value {
    stack.write("read.py", program);
    let mut command = Command::new(tools().join("python"));
    let said = succeed(command.arg("read.py").current_dir(&stack.root).env("PYTHONWARNINGS", "ignore"));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn any_value_and_argument_survive_kubernetes_yaml() {
    let (stack, texts) = exported("kubernetes");
    let read = python(
        &stack,
        "import glob, json, yaml
found = {}
for path in glob.glob('exported/s*.yaml'):
    parts = {one['kind']: one for one in yaml.safe_load_all(open(path, encoding='utf-8', newline=''))}
    spec = parts.get('Job') or parts.get('Deployment')
    container = spec['spec']['template']['spec']['containers'][0]
    words = container.get('command', []) + container.get('args', [])
    found[path[9:-5]] = [parts['ConfigMap']['data']['VALUE'], words]
print(json.dumps(found))",
    );
    for (name, text) in &texts {
        assert_eq!(read[name][0], *text, "{name}");
        let words = read[name][1].as_array().expect("words");
        // Kubernetes itself expands $(NAME), and $$ is a $ for it.
        let word = words[words.len() - 2].as_str().expect("a word").replace("$$", "$");
        assert_eq!(word, *text, "{name}");
    }
}

#[test]
fn any_value_and_argument_survive_supervisord_or_go_through_devstack() {
    let (stack, texts) = exported("supervisor");
    std::fs::create_dir(stack.root.join("logs")).expect("a folder");
    stack.write("supervisord.conf", "[supervisord]\nnodaemon=true\n[include]\nfiles=exported/*.conf\n");
    let read = python(
        &stack,
        "import json, shlex
from supervisor.options import ServerOptions
options = ServerOptions()
options.realize(['-c', 'supervisord.conf', '-n'])
found = {}
for group in options.process_group_configs:
    for process in group.process_configs:
        found[process.name] = [process.environment.get('VALUE'), shlex.split(process.command)]
print(json.dumps(found))",
    );
    let mut as_they_are = 0;
    for (name, text) in &texts {
        let words: Vec<&str> = read[name][1].as_array().expect("words").iter().map(|word| word.as_str().expect("a word")).collect();
        if words.ends_with(&["run", name]) {
            continue;
        }
        as_they_are += 1;
        assert_eq!(read[name][0], *text, "{name}");
        assert_eq!(words, ["/bin/true", text, "x"], "{name}");
    }
    assert!(as_they_are > MANY / 4, "most can be said: {as_they_are}");
}
