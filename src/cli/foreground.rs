//! `start --foreground`: the start, then every log with its service's name, until Ctrl-C stops what was started.

use super::client::{Client, Next};
use super::logs::{Follower, Printer};
use super::progress::Progress;
use super::start::last_lines;
use super::stop::bring_down;
use super::{Error, context::Context, style};
use crate::control::protocol::{Reply, Request};
use crate::model::ServiceName;
use crate::sys::poll::{Interest, wait};
use crate::sys::signals::{self, Signals};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// # Errors
/// [`Error::interrupted`] after Ctrl-C; when a service did not become ready, in which case those that did are stopped again.
pub fn run(context: &Context, services: &[ServiceName], request: &Request) -> Result<(), Error> {
    let paths: Vec<PathBuf> = services.iter().filter_map(|name| Some(context.project.services.get(name)?.log_file.clone())).collect();
    let mut follower = Follower::from_now(&paths);
    let mut printer = Printer::stdout(services)?;
    let mut client = Client::launch(context)?;
    if !context.quiet {
        client.note_difference();
    }
    let signals = Signals::hold(&[signals::INTERRUPT, signals::TERMINATE, signals::HANG_UP]).map_err(Error::failed)?;
    client.send(request)?;
    let mut progress = Some(Progress::new(services, true));
    loop {
        follower.read(&mut |index, news| printer.take(index, news))?;
        printer.flush()?;
        let mut interests = vec![Interest::Input(signals.as_fd())];
        interests.extend(follower.watched().map(Interest::Input));
        if progress.is_some() {
            interests.push(Interest::Input(client.as_fd()));
        }
        let ready = wait(&interests, follower.patience()).map_err(Error::failed)?;
        if signals.next().map_err(Error::failed)?.is_some() {
            return stop(context, services, signals).and(Err(Error::interrupted()));
        }
        if progress.is_some() && ready.last() == Some(&true) {
            match client.next(&signals, None)? {
                Next::Reply(Reply::Done { outcomes }) => {
                    if let Some(progress) = progress.take()
                        && let Err(error) = progress.finish(&outcomes, |service, offset| last_lines(context, service, offset))
                    {
                        error.print();
                        stop(context, services, signals)?;
                        return Err(Error::told(error.exit_code()));
                    }
                }
                Next::Interrupted => return stop(context, services, signals).and(Err(Error::interrupted())),
                Next::Reply(_) | Next::TimedOut => {}
            }
        }
    }
}

fn stop(context: &Context, services: &[ServiceName], signals: Signals) -> Result<(), Error> {
    // The stop holds them for itself: Ctrl-C then means something else.
    drop(signals);
    style::say("\n");
    let request = Request::Stop { services: services.to_vec(), kill: false, timeout_seconds: None };
    match Client::connect(context)? {
        Some(client) => bring_down(client, context, services, &request),
        None => Ok(()),
    }
}
