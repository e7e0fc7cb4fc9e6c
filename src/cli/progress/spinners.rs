//! A turning line for each service at work; what has ended stays above them.

use crate::cli::style;
use crate::model::ServiceName;
use console::Style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::time::Duration;

const TURN: Duration = Duration::from_millis(80);
/// Each turns in a thread of its own; more than fit nobody can read anyway.
const MOST: usize = 12;

#[derive(Debug)]
pub struct Spinners {
    all: MultiProgress,
    each: BTreeMap<ServiceName, ProgressBar>,
    name_width: usize,
    most: usize,
}

impl Spinners {
    /// `size`: rows and columns of the terminal.
    pub fn new(services: &[ServiceName], size: (u16, u16)) -> Self {
        let name_width = services.iter().map(|name| name.as_str().len()).max().unwrap_or(0);
        let most = MOST.min(usize::from(size.0).saturating_sub(2));
        Self { all: MultiProgress::new(), each: BTreeMap::new(), name_width, most }
    }

    pub fn turn(&mut self, service: &ServiceName, said: &str) {
        if !self.each.contains_key(service) {
            if self.each.len() >= self.most {
                return;
            }
            let bar = self.all.add(ProgressBar::new_spinner().with_style(style_of_bar()));
            bar.set_prefix(format!("{service:<width$}", width = self.name_width));
            bar.enable_steady_tick(TURN);
            self.each.insert(service.clone(), bar);
        }
        if let Some(bar) = self.each.get(service) {
            bar.set_message(style::visible(said).replace('\n', " "));
        }
    }

    pub fn keep(&mut self, line: &str) {
        let _ = self.all.println(line);
    }

    pub fn end(&mut self, service: &ServiceName, line: &str, success: bool) {
        if let Some(bar) = self.each.remove(service) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
        let mark = if success { Style::new().green().apply_to("✔") } else { Style::new().red().apply_to("✘") };
        self.keep(&format!("{} {line}", mark.for_stderr()));
    }
}

impl Drop for Spinners {
    /// Also after an error or Ctrl-C: no half-drawn line is left behind.
    fn drop(&mut self) {
        self.each.values().for_each(ProgressBar::finish_and_clear);
        let _ = self.all.clear();
    }
}

fn style_of_bar() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix}  {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}
