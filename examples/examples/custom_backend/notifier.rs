use crate::support::publish;
use async_trait::async_trait;
use deploy_core::{
    backend::{BackendError, BackendResult, ErrorKind, Notification, Notifier},
    digest::Digest,
};
use std::{io, path::PathBuf};
use tokio::fs;

/// Puts each notification into a folder as a mail, from where some program sends it. The file's name is made from the key, so that
/// there is one of each, whoever tells it.
#[derive(Debug)]
pub(crate) struct MailFolder {
    folder: PathBuf,
}

impl MailFolder {
    pub(crate) async fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder).await?;
        Ok(Self { folder })
    }
}

#[async_trait]
impl Notifier for MailFolder {
    async fn notify(&self, notification: &Notification) -> BackendResult<()> {
        let Notification { key, subject, body, .. } = notification;
        let name = format!("{}.eml", Digest::of(key.as_bytes()).short());
        let mail = format!("Message-ID: {key}\nSubject: {subject}\n\n{body}");
        let told = publish(&self.folder.join(name), mail.as_bytes()).await;
        told.map(|_new| ()).map_err(|err| {
            BackendError::new(ErrorKind::Unavailable, "notifier.notify").because(err)
        })
    }
}
