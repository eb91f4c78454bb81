//! Notifications to the service manager that started this process, by systemd's
//! protocol: sd_notify(3) and sd_watchdog_enabled(3).
//!
//! The crate `sd_notify` provides the words of the protocol and the clock. Its
//! socket supports no abstract addresses, which managers in containers use, and
//! blocks while the manager does not read; hence the socket here.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The variable that says where the manager listens.
const ADDRESS: &str = "NOTIFY_SOCKET";

/// The service manager of this process. It holds no more than an address, and
/// is cheap to make.
#[derive(Clone, Debug)]
pub struct Supervisor {
    address: SocketAddr,
}

impl Supervisor {
    /// The manager that the environment names, if it names one.
    ///
    /// # Errors
    ///
    /// `NOTIFY_SOCKET` is not the address of a Unix socket.
    pub fn of_environment() -> io::Result<Option<Self>> {
        match std::env::var(ADDRESS) {
            Ok(address) => Self::at(&address).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        }
    }

    /// The manager that listens at `address`: a path, or `@` and an abstract
    /// name.
    ///
    /// # Errors
    ///
    /// The address is neither, or is too long.
    pub fn at(address: &str) -> io::Result<Self> {
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None if address.starts_with('/') => SocketAddr::from_pathname(address)?,
            None => {
                let text = format!("{ADDRESS} is \"{address}\", neither a path nor an @name");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        Ok(Self { address })
    }

    /// Says that the start, or a reload, is over.
    ///
    /// # Errors
    ///
    /// The manager does not listen, or has no room for another message.
    pub fn ready(&self) -> io::Result<()> {
        self.tell(&[NotifyState::Ready])
    }

    /// Says how the process is doing, in one line for people.
    ///
    /// # Errors
    ///
    /// As [`Supervisor::ready`].
    pub fn status(&self, text: &str) -> io::Result<()> {
        // A line break would begin another word of the protocol.
        let line = text.replace(char::is_control, " ");
        self.tell(&[NotifyState::Status(&line)])
    }

    /// Feeds the watchdog.
    ///
    /// # Errors
    ///
    /// As [`Supervisor::ready`].
    pub fn alive(&self) -> io::Result<()> {
        self.tell(&[NotifyState::Watchdog])
    }

    /// Says that the process is ending, and takes `within` at most.
    ///
    /// # Errors
    ///
    /// As [`Supervisor::ready`].
    pub fn stopping(&self, within: Duration) -> io::Result<()> {
        let within_us = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(within_us),
        ])
    }

    /// Says that the configuration is being loaded again. [`Supervisor::ready`]
    /// has to follow, even if the configuration is refused.
    ///
    /// # Errors
    ///
    /// As [`Supervisor::ready`].
    pub fn reloading(&self) -> io::Result<()> {
        // systemd 253 and later distinguish reloads by the time.
        let now = NotifyState::monotonic_usec_now()?;
        self.tell(&[NotifyState::Reloading, now])
    }

    fn tell(&self, words: &[NotifyState<'_>]) -> io::Result<()> {
        let lines: Vec<String> = words.iter().map(ToString::to_string).collect();
        let message = lines.join("\n");
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not hold up the work.
        socket.set_nonblocking(true)?;
        let sent = socket.send_to_addr(message.as_bytes(), &self.address)?;
        if sent == message.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }
}

/// Tells the manager, if there is one, that a reload begins. [`reload_ends`]
/// has to follow, even if the configuration is refused.
pub fn reload_begins() {
    report(Supervisor::reloading);
}

/// Tells the manager, if there is one, that a reload is over. `systemctl
/// reload` waits for this.
pub fn reload_ends() {
    report(Supervisor::ready);
}

fn report(tell: impl Fn(&Supervisor) -> io::Result<()>) {
    let told =
        Supervisor::of_environment().and_then(|manager| manager.as_ref().map_or(Ok(()), tell));
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager cannot be told of the reload");
    }
}

/// The time after which the manager ends a process that is silent; none if it
/// has no watchdog.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("evictd-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, address) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.display().to_string(),
            ),
            (
                UnixDatagram::bind_addr(&abstract_name).unwrap(),
                format!("@{name}"),
            ),
        ] {
            let manager = Supervisor::at(&address).unwrap();
            manager.ready().unwrap();
            assert_eq!(received(&socket), "READY=1", "{address}");
            manager.alive().unwrap();
            assert_eq!(received(&socket), "WATCHDOG=1");
            manager.stopping(Duration::from_secs(25)).unwrap();
            assert_eq!(
                received(&socket),
                "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000"
            );
            manager.status("one\nREADY=1").unwrap();
            assert_eq!(received(&socket), "STATUS=one READY=1");
            manager.reloading().unwrap();
            let reloading = received(&socket);
            let now_us = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            assert!(now_us.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
        }
    }

    #[test]
    fn a_manager_that_does_not_read_is_an_error_and_no_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = Supervisor::at(path.to_str().unwrap()).unwrap();
        assert!(manager.ready().is_err(), "nobody listens");
        let socket = UnixDatagram::bind(&path).unwrap();
        let full = (0..100_000).find_map(|_| manager.alive().err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(socket);
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let long = format!("/{}", "x".repeat(200));
        for address in ["", "notify", "vsock:2:1234", &long] {
            assert!(Supervisor::at(address).is_err(), "{address}");
        }
    }
}
