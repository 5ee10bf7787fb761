//! Uploads: whole, cut off, gone on with, and wrong.
use crate::lab::Lab;
use deploy_core::digest::Digest;
use hyper::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Sends a part of an artifact, and goes away.
async fn cut_off(lab: &Lab, bytes: &[u8], sent: usize) {
    let digest = Digest::of(bytes);
    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    let head = format!(
        "PUT /api/v1/artifacts/{digest}/upload?repository=web&kind=package&version=1&size={} HTTP/1.1\r\n\
        host: server\r\nauthorization: Bearer {}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        bytes.len(),
        lab.admin,
        bytes.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..sent]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = Vec::new();
    // The server may have nothing to say to somebody who is gone.
    drop(stream.read_to_end(&mut said).await);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut_off() {
    let lab = Lab::new().await;
    let bytes: Vec<u8> =
        (0..300_000_u32).map(|it| it.to_le_bytes()[0] ^ it.to_le_bytes()[1]).collect();
    let path = format!("/api/v1/artifacts/{}/upload", Digest::of(&bytes));
    assert_eq!(lab.get(&path).await.json(), json!({"offset": 0, "complete": false}));
    cut_off(&lab, &bytes, 200_000).await;
    let kept = lab.get(&path).await.json()["offset"].as_u64().unwrap();
    assert!(kept > 0 && kept <= 200_000, "{kept} bytes are kept");
    let rest = lab.upload("package", "1", &bytes, usize::try_from(kept).unwrap()).await;
    assert_eq!(rest.status, StatusCode::CREATED, "{rest:?}");
    assert_eq!(lab.get(&path).await.json(), json!({"offset": bytes.len(), "complete": true}));
    let verified = lab.post(&path.replace("/upload", "/verify"), &json!({})).await.json();
    assert_eq!(verified["intact"], true);
    let listed = lab.get("/api/v1/artifacts?repository=web&kind=package").await.json();
    assert_eq!(listed["items"][0]["size"], bytes.len());
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_refused() {
    let lab = Lab::new().await;
    let request = |digest: &Digest, size: u64, kind: &str| {
        let path = format!(
            "/api/v1/artifacts/{digest}/upload?repository=web&kind={kind}&version=1&size={size}"
        );
        lab.request(hyper::Method::PUT, &path)
            .header("content-type", "application/octet-stream")
            .body("bytes".into())
            .unwrap()
    };
    let right = Digest::of(b"bytes");
    for (digest, size, kind, status) in [
        (Digest::of(b"others"), 5, "package", 422),
        (right, 4, "package", 422),
        (right, 6, "package", 422),
        (right, u64::MAX, "package", 413),
        (right, 5, "image", 422),
    ] {
        let answer = lab.send(request(&digest, size, kind)).await;
        assert!(answer.status.is_client_error(), "{status}: {answer:?}");
        answer.problem();
    }
    assert_eq!(lab.get("/api/v1/artifacts").await.json()["items"], json!([]));
    assert_eq!(lab.upload("package", "1", b"bytes", 0).await.status, StatusCode::CREATED);
    assert_eq!(lab.upload("package", "1", b"other", 0).await.problem(), "already_exists");
}
