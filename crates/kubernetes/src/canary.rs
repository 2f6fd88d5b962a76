//! The two Pods by which `longshore doctor --canary` reports whether NetworkPolicies are enforced:
//! one listens, the other calls it.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// What the listener says: something on the way that accepts for it is not it.
const GREETING: &[u8] = b"longshore canary\n";
/// How long one call may take.
const CALL: Duration = Duration::from_secs(2);
/// Between calls.
const PAUSE: Duration = Duration::from_millis(500);

/// One line for people. A closed stderr is not a reason to fail.
fn note(line: std::fmt::Arguments<'_>) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{line}\n"));
}

/// Greets every client that connects to `port`, until it is killed. Fails if it cannot listen.
pub async fn listen(port: u16) -> ExitCode {
    // Where there is no IPv6, the unspecified address of it cannot be bound.
    let any = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    match TcpListener::bind(&any[..]).await {
        Ok(listener) => greet(listener).await,
        Err(error) => {
            note(format_args!("cannot listen on port {port}: {error}"));
            ExitCode::from(2)
        }
    }
}

async fn greet(listener: TcpListener) -> ExitCode {
    loop {
        match listener.accept().await {
            // One at a time: nobody calls but two canaries, and a slow one is given up.
            Ok((mut caller, _)) => drop(timeout(CALL, caller.write_all(GREETING)).await),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Calls `address` again and again for `patience`, since policies reach a new Pod a moment after it
/// starts: the last call counts. Exit code 0: it got through; 1: it did not.
pub async fn connect(address: SocketAddr, patience: Duration) -> ExitCode {
    let end = Instant::now() + patience;
    loop {
        let outcome = timeout(CALL, call(address)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if Instant::now() + PAUSE < end {
            sleep(PAUSE).await;
            continue;
        }
        return match outcome {
            Ok(()) => {
                note(format_args!("{address} was reached"));
                ExitCode::SUCCESS
            }
            Err(error) => {
                note(format_args!("{address} was not reached: {error}"));
                ExitCode::FAILURE
            }
        };
    }
}

async fn call(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).await?;
    if greeting == GREETING { Ok(()) } else { Err(io::Error::other("something else answers")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(address: SocketAddr) -> bool {
        connect(address, Duration::ZERO).await == ExitCode::SUCCESS
    }

    #[tokio::test]
    async fn only_the_listener_itself_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::select! {
            _ = greet(listener) => panic!("it ended"),
            reached = outcome(address) => assert!(reached),
        }
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = other.local_addr().unwrap();
        let says = async |text: &'static [u8]| {
            let (mut caller, _) = other.accept().await.unwrap();
            caller.write_all(text).await.unwrap();
        };
        for text in [&b""[..], b"longshore", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let (reached, ()) = tokio::join!(outcome(address), says(text));
            assert!(!reached, "{text:?}");
        }
    }
}
