//! docs/production.md: its commands, in their order.

use crate::prometheus::has;
use crate::support::{DEVSTACK, TestStack};
use std::path::Path;
use std::process::Command;

#[test]
fn the_steps_to_production_are_done_as_they_are_written() {
    if !has("systemd-analyze", "systemd") || !has("promtool", "prometheus") {
        return;
    }
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/production.md")).expect("the document");
    let stack = TestStack::new(
        "[http]\nlisten = '127.0.0.1:9464'\n[services.mtproto]\ncommand = ['/usr/bin/env', 'python3', 'worker.py', 'mtproto', 'pool']",
    );
    stack.run("start").ends_with(0);
    let (pool, _) = stack.noted_pool("mtproto");
    let bin = Path::new(DEVSTACK).parent().expect("a folder");
    for block in text.split("```sh\n").skip(1) {
        for line in block.split("```").next().expect("a block").lines() {
            let mut shell = Command::new("sh");
            stack.in_its_environment(shell.args(["-euc", line]));
            let done = shell.env("PATH", format!("{}:{}", bin.display(), crate::support::path())).output().expect("a shell");
            assert!(done.status.success(), "{line}: {done:?}");
        }
    }
    assert!(!pool.into_iter().any(crate::world::is_alive), "what ran by hand is gone");
    let unit = std::fs::read_to_string(stack.root.join("deploy/systemd/shop-mtproto.service")).expect("a unit");
    assert!(unit.contains("EnvironmentFile=/etc/shop/production.env\n"), "{unit}");
}
