//! Whatever a worker, a process or a file says, a terminal is not made to obey it.

use crate::support::{TestStack, free_port};
use crate::terminal::Terminal;
use crate::world::wait_until;
use std::fmt::Write;

/// Clear the screen, set the clipboard, set the title, a device control string, 8-bit controls, an override of the reading
/// direction, a line separator, a carriage return and a rubout.
const ATTACK: &str = r"\x1b[2J\x1b]52;c;cHduZWQ=\x07\x1b]0;pwned\x07\x1bP+q\x1b\\\u009b2J\u009d52;c;x\u009c\u202e\u2066\u2028\u061c\rX\x7f";

/// As Python reads that text.
fn raw() -> String {
    let mut text = String::new();
    let mut rest = ATTACK;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (length, from) = match &rest[at + 1..=at + 1] {
            "x" => (4, 2),
            "u" => (6, 2),
            _ => (2, 0),
        };
        match (&rest[at..at + length], from) {
            ("\\\\", _) => text.push('\\'),
            ("\\r", _) => text.push('\r'),
            (escape, from) => text.push(u32::from_str_radix(&escape[from..], 16).ok().and_then(char::from_u32).expect("an escape")),
        }
        rest = &rest[at + length..];
    }
    text + rest
}

/// What was drawn beyond text, newlines, tabs and colours; spinners and frames of ours are allowed to move the cursor.
fn obeyed(drawn: &str, ours: &[&str]) -> String {
    let mut left = drawn.replace("\r\n", "\n");
    for sequence in ours {
        left = left.replace(sequence, "");
    }
    let color = regex::Regex::new("\x1b\\[[0-9;]*m").expect("a pattern");
    let left = color.replace_all(&left, "").into_owned();
    let bad = left.chars().filter(|c| (c.is_control() && *c != '\n' && *c != '\t') || "\u{202e}\u{2066}\u{2028}\u{61c}".contains(*c));
    bad.fold(String::new(), |mut all, c| {
        write!(all, "{c:?} ").expect("a string");
        all
    })
}

#[test]
fn nothing_that_a_worker_says_or_is_called_moves_the_cursor() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = ['python3', 'attacker.py', '{port}']\nhealth = {{ url = 'http://127.0.0.1:{port}/health', interval = '50ms', failures = 1 }}
[services.bad]\ncommand = ['python3', 'dies.py']\n"
    ));
    let say = format!(
        "import sys; sys.stdout.buffer.write('{ATTACK}\\n'.encode()); sys.stdout.buffer.write(b'\\x9b2J raw\\n'); sys.stdout.flush()\n"
    );
    stack.write("dies.py", &format!("{say}sys.exit(3)\n"));
    stack.write(
        "attacker.py",
        &format!(
            "{say}import ctypes, http.server, json, subprocess
ctypes.CDLL(None).prctl(15, '{ATTACK}'.encode()[:15], 0, 0, 0)
child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()', '{ATTACK}'])
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{'status': 'unhealthy', 'reason': '{ATTACK}'}}, ensure_ascii=False).encode()
        self.send_response(503)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Health)
print('started', flush=True)
server.serve_forever()
"
        ),
    );
    assert!(raw().contains("\x1b]52") && raw().contains('\u{9b}') && raw().ends_with("X\x7f"));
    stack.run("start web").ends_with(0);
    wait_until("its health is known", || stack.service("web")["health"]["status"] == "unhealthy");
    // The reason reached us as it is; what is shown of it is another matter.
    assert!(stack.service("web")["health"]["reason"].as_str().is_some_and(|reason| reason.contains("52;c;")), "{}", stack.service("web"));

    for line in [
        "status",
        "status --tree",
        "status --json",
        "status --tree --json",
        "logs --no-pager",
        "logs --no-pager -n 5 web bad",
        "cleanup-workers --dry-run --managed",
        "cleanup-workers --dry-run --managed --json",
        "check --show",
    ] {
        let (_, drawn) = Terminal::devstack(&stack, line).end();
        assert!(drawn.len() > 20, "{line}: {drawn}");
        assert_eq!(obeyed(&drawn, &[]), "", "{line}: {drawn:?}");
    }
    // Spinners turn; beyond that nothing does.
    let spinner = ["\x1b[2K", "\x1b[1A", "\x1b[1B", "\x1b[?25l", "\x1b[?25h", "\r"];
    for line in ["start bad", "restart bad", "start --foreground bad", "stop"] {
        let (_, drawn) = Terminal::devstack(&stack, line).end();
        // The attack's own carriage return would be among ours.
        assert!(!drawn.contains("\u{61c}\rX") && !drawn.contains("\rX"), "{line}: {drawn:?}");
        assert_eq!(obeyed(&drawn, &spinner), "", "{line}: {drawn:?}");
    }
}

#[test]
fn a_path_a_name_and_an_argument_that_attack_are_shown_and_not_obeyed() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\n");
    let attack = raw().replace('\0', "");
    for arguments in [
        vec!["status".to_owned(), attack.clone()],
        vec!["logs".to_owned(), attack.clone()],
        vec!["--config".to_owned(), attack.clone(), "check".to_owned()],
        vec!["--project".to_owned(), attack.clone(), "check".to_owned()],
        vec!["start".to_owned(), "--timeout".to_owned(), attack.clone()],
        vec![attack.clone()],
    ] {
        let mut command = stack.command("");
        command.args(&arguments);
        let done = stack.begin_command(command).end();
        assert!(matches!(done.code, Some(2 | 4)), "{done:?}");
        assert_eq!(obeyed(&done.stderr, &[]), "", "{arguments:?}: {done:?}");
    }
    stack.configure(&format!("[services.web]\ncommand = ['x']\n'{}' = 1\n", attack.replace(['\r', '\x7f', '\x1b', '\x07'], "")));
    let done = stack.run("check").ends_with(2);
    assert_eq!(obeyed(&done.stderr, &[]), "", "{done:?}");
}
