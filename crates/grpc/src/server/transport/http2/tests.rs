//! Both ends in memory.

use tokio::io::DuplexStream;

use super::*;

/// One end of a pipe, as a connection.
#[derive(Debug)]
struct Pipe(DuplexStream);

impl Connected for Pipe {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn connection() -> (DuplexStream, Http2<Pipe>) {
    let (client, server) = tokio::io::duplex(256);
    (client, Http2::new(Pipe(server), Http1Answer::other_version("what this is\n".into())))
}

#[tokio::test]
async fn http2_passes_as_it_came() {
    // However it is cut.
    for cut in [1, 3, 23, 24, 30] {
        let (mut client, mut server) = connection();
        let sent = [PREFACE.as_slice(), b"and more"].concat();
        let write = async {
            for part in sent.chunks(cut) {
                client.write_all(part).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            client
        };
        let mut got = Vec::new();
        let (mut client, _) = tokio::join!(write, async {
            server.write_all(b"settings").await.unwrap();
            server.read_to_end(&mut got).await.unwrap();
            server.shutdown().await.unwrap();
        });
        assert_eq!(got, sent, "{cut}");
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).await.unwrap();
        assert_eq!(answers, b"settings");
    }
}

/// What a client gets that says this, in parts.
async fn answered(parts: &[&[u8]]) -> String {
    let (client, mut server) = connection();
    let (mut from_server, mut to_server) = tokio::io::split(client);
    let serve = async {
        // As HTTP/2 does: it would say something at once.
        let written = server.write_all(b"settings").await;
        assert!(written.is_err());
        drop(server);
    };
    let speak = async {
        for part in parts {
            if to_server.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        to_server.shutdown().await.ok();
    };
    let mut got = Vec::new();
    let ((), (), read) = tokio::join!(serve, speak, from_server.read_to_end(&mut got));
    read.unwrap();
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn http1_gets_one_answer() {
    let long = format!("X-Long: {}\r\n\r\n", "x".repeat(2 * HEAD_MAX));
    for parts in [
        &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice()] as &[&[u8]],
        &[b"GET /metrics HTTP/1.0\r\n\r\n"],
        &[b"G", b"E", b"T / HTTP/1.1\r", b"\n\r\n"],
        &[b"P", b"OST /longshore.v1.RunService/GetRun HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"],
        &[b"PRI", b"NT / HTTP/1.1\r\n\r\n"],
        &[b"GET / HTTP/1.1\n\n"],
        &[b"GET / HTTP/1.1\r\n", long.as_bytes()],
    ] {
        let answer = answered(parts).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?} to {parts:?}"));
        assert!(head.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"), "{head}");
        assert!(head.contains("Content-Length: 13") && head.contains("Connection: close"), "{head}");
        assert_eq!(body, "what this is\n");
    }
    let answer = answered(&[b"HEAD / HTTP/1.1\r\n\r\n"]).await;
    assert!(answer.contains("Content-Length: 13") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_tls_client_learns_that_this_port_is_plaintext() {
    let answer = answered(&[b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("does not speak TLS"), "{answer}");
}

#[tokio::test]
async fn anything_else_gets_none() {
    for parts in [
        &[b"SSH-2.0-OpenSSH_9.6\r\n".as_slice()] as &[&[u8]],
        &[b"GET / HTTP/3\r\n\r\n"],
        &[b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"],
        &[b"GET / HTTP/1.1\r\nHost"],
        &[b"no line at all"],
    ] {
        assert_eq!(answered(parts).await, "", "{parts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_half_a_word_is_not_waited_for() {
    let (mut client, mut server) = connection();
    client.write_all(&PREFACE[..10]).await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);

    let (mut client, mut server) = connection();
    client.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    assert_eq!(server.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert!(got.is_empty(), "a request that never ends is given up");
}
