use crate::{digest::Digest, error::BackendResult, id::Principal, time::Timestamp};
use async_trait::async_trait;
use std::{fmt, str::FromStr, sync::Arc};

/// What a client calls a request, so that asking twice is asking once: up to 255 visible ASCII characters.
///
/// ```
/// use deploy_core::backend::IdempotencyKey;
///
/// assert!("01890a5d-ac96-774b-bcce-b302099a8057".parse::<IdempotencyKey>().is_ok());
/// assert!("".parse::<IdempotencyKey>().is_err() && "a b".parse::<IdempotencyKey>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// Why a string is not an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key must be 1 to 255 visible ASCII characters")]
#[non_exhaustive]
pub struct ParseIdempotencyKeyError;

impl IdempotencyKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = ParseIdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, ParseIdempotencyKeyError> {
        let fits = (1..=255).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic());
        if fits { Ok(Self(text.into())) } else { Err(ParseIdempotencyKeyError) }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A request that is to be answered once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BeginAnswer {
    /// Who asks. Each has keys of its own.
    pub principal: Principal,
    /// What they call the request.
    pub key: IdempotencyKey,
    /// The digest of all that the request says: method, path, body.
    pub request: Digest,
    /// Who is going to answer. Never the same for two processes.
    pub holder: String,
    /// The holder whose process is known to be gone: what it has begun may be begun anew.
    pub dead: Option<String>,
}

impl BeginAnswer {
    /// `request` of `principal` under `key`, to be answered by `holder`.
    #[must_use]
    pub fn new(
        principal: Principal,
        key: IdempotencyKey,
        request: Digest,
        holder: impl Into<String>,
    ) -> Self {
        Self { principal, key, request, holder: holder.into(), dead: None }
    }

    /// Knowing that the process of `holder` is gone.
    #[must_use]
    pub fn with_dead(mut self, holder: impl Into<String>) -> Self {
        self.dead = Some(holder.into());
        self
    }
}

/// The right to answer a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnswerClaim {
    /// Who asked.
    pub principal: Principal,
    /// What they call the request.
    pub key: IdempotencyKey,
    /// Grows whenever the request is begun anew, so that whoever began it before cannot answer it any more.
    pub epoch: u64,
}

impl AnswerClaim {
    /// A claim.
    #[must_use]
    pub const fn new(principal: Principal, key: IdempotencyKey, epoch: u64) -> Self {
        Self { principal, key, epoch }
    }
}

/// What is known of a request that is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a fifth answer must break every caller")]
pub enum Begun {
    /// It was answered before: like this.
    Answered(Answer),
    /// Nobody has answered it, and nobody is at it: it is the caller's.
    New(AnswerClaim),
    /// The key is that of another request.
    Other,
    /// Somebody is at it.
    Running {
        /// Who.
        holder: String,
    },
}

/// What was answered, to be answered again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names and values, in their order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer without headers.
    #[must_use]
    pub const fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    /// With these headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers = headers;
        self
    }
}

/// Keeps answers to requests that carry an idempotency key: the same key gets the same answer.
///
/// # Contract
/// * `begin` of a key that is free gives `New`, with a claim. Each principal has keys of its own.
/// * Of any number of callers that begin one request at once, one gets `New`.
/// * `begin` of a request that somebody is at gives `Running` and names the holder, unless `dead` names that very holder: then it
///   is `New`, with a greater epoch.
/// * `begin` under the key of another request gives `Other`, answered or not.
/// * `begin` of a request that was answered gives `Answered`, with every byte of the answer.
/// * `finish` with a claim that another has taken over is `Fenced`, and changes nothing.
/// * `finish` twice with the same answer is no error; with another it is `Conflict`.
/// * `release` frees the key of a claim that has no answer. A claim that has moved on, or is answered, stays as it is, which is no
///   error.
/// * `forget` drops answers given before an instant and says how many; their keys are free again. What somebody is at stays.
///
/// ```
/// use deploy_core::{
///     backend::{Answer, AnswerStore, BeginAnswer, Begun},
///     digest::Digest,
///     memory::MemoryAnswerStore,
///     time::Timestamp,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let answers = MemoryAnswerStore::new();
/// let request = Digest::of(b"POST /api/v1/rollouts {...}");
/// let begin = BeginAnswer::new("ann".parse()?, "7f3c".parse()?, request, "server-1");
/// let Begun::New(claim) = answers.begin(&begin).await? else { panic!("nobody has begun it") };
/// assert_eq!(answers.begin(&begin).await?, Begun::Running { holder: "server-1".to_owned() });
///
/// let answer = Answer::new(201, b"{}".to_vec());
/// answers.finish(&claim, &answer, Timestamp::from_millis(1)).await?;
/// assert_eq!(answers.begin(&begin).await?, Begun::Answered(answer));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait AnswerStore: fmt::Debug + Send + Sync + 'static {
    /// Says what is known of a request, and takes it if nothing is.
    async fn begin(&self, request: &BeginAnswer) -> BackendResult<Begun>;

    /// Keeps the answer that is given at `now`.
    async fn finish(
        &self,
        claim: &AnswerClaim,
        answer: &Answer,
        now: Timestamp,
    ) -> BackendResult<()>;

    /// Gives a claim up, where nothing has come of the request.
    async fn release(&self, claim: &AnswerClaim) -> BackendResult<()>;

    /// Drops answers given before `before`.
    async fn forget(&self, before: Timestamp) -> BackendResult<u64>;
}
