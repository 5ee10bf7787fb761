use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{BackendError, BackendResult, CreateToken, CredentialStore, ErrorKind, Token},
    conformance::{Harness, permit, sample},
    id::TokenId,
    memory::MemoryCredentialStore,
    time::Timestamp,
    token::SecretHash,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

sabotages! {
    AcceptsAnySecret,
    AcceptsTheExpired,
    AcceptsTheRevoked,
    CallsTheMissingUnavailable,
    ForgetsAtACrash,
    ForgetsWhoMadeIt,
    HidesTheRevoked,
    IgnoresLimits,
    IgnoresPermits,
    IsAlone,
    LetsIdsBeUsedAgain,
    ListsBackwards,
    MakesTheWorthless,
    MovesTheRevocation,
    NotesEveryUse,
    NotesNoUse,
    NotesRefusedUse,
    RefusesEverybody,
    /// In this process.
    RemembersWhoWasLetIn,
    RepeatsTheLastOfAPage,
    TellsIdsFromSecrets,
}

type State = Arc<Kept>;

#[derive(Debug, Default)]
pub(crate) struct Kept {
    plain: MemoryCredentialStore,
    /// The same tokens, none of them revoked.
    unrevoked: MemoryCredentialStore,
    secrets: Mutex<BTreeMap<TokenId, SecretHash>>,
}

saboteurs!(CredentialStore, State);

fn state(_: Sabotage) -> State {
    State::default()
}

fn open(sabotage: Sabotage, kept: &State) -> Arc<dyn CredentialStore> {
    let (let_in, uses, revoked) = Default::default();
    Arc::new(Saboteur { kept: kept.clone(), sabotage, let_in, uses, revoked })
}

#[derive(Debug)]
struct Saboteur {
    kept: State,
    sabotage: Sabotage,
    let_in: Mutex<BTreeMap<TokenId, Token>>,
    uses: Mutex<BTreeMap<TokenId, Timestamp>>,
    revoked: Mutex<BTreeMap<TokenId, Timestamp>>,
}

impl Saboteur {
    /// A token as this saboteur shows it.
    fn shown(&self, mut token: Token) -> Token {
        let noted = || self.uses.lock().unwrap().get(&token.id).copied();
        match self.sabotage {
            Sabotage::ForgetsWhoMadeIt => token.created_by = token.principal.clone(),
            Sabotage::MovesTheRevocation => {
                token.revoked_at = self.revoked.lock().unwrap().get(&token.id).copied();
            }
            Sabotage::NotesEveryUse | Sabotage::NotesRefusedUse => token.last_used_at = noted(),
            Sabotage::NotesNoUse => token.last_used_at = None,
            _ => {}
        }
        token
    }

    async fn permit(&self, given: &Permit) -> Permit {
        match self.sabotage {
            Sabotage::IgnoresPermits => permit(Action::TokenWrite, Resource::System).await,
            _ => given.clone(),
        }
    }

    async fn look(
        &self,
        id: &TokenId,
        secret: &SecretHash,
        now: Timestamp,
    ) -> BackendResult<Token> {
        let Kept { plain, unrevoked, secrets } = &*self.kept;
        let right = secrets.lock().unwrap().get(id).copied();
        match self.sabotage {
            Sabotage::AcceptsAnySecret => {
                plain.authenticate(id, &right.unwrap_or(*secret), now).await
            }
            Sabotage::AcceptsTheExpired => match plain.authenticate(id, secret, now).await {
                Err(_) => plain.authenticate(id, secret, sample::at(0)).await,
                found => found,
            },
            Sabotage::AcceptsTheRevoked => unrevoked.authenticate(id, secret, now).await,
            Sabotage::RefusesEverybody => {
                plain.authenticate(&sample::name("nobody"), secret, now).await
            }
            _ => plain.authenticate(id, secret, now).await,
        }
    }

    fn note(&self, id: &TokenId, now: Timestamp, accepted: bool) {
        let mut uses = self.uses.lock().unwrap();
        let last = uses.get(id).copied();
        let notes = match self.sabotage {
            Sabotage::NotesEveryUse => accepted,
            _ => !accepted || last.is_none_or(|last| now.since(last) >= Token::USE_STEP),
        };
        if notes {
            uses.insert(id.clone(), now);
        }
    }
}

#[async_trait]
impl CredentialStore for Saboteur {
    async fn create(&self, given: &Permit, request: &CreateToken) -> BackendResult<Token> {
        let permit = self.permit(given).await;
        let made = match self.kept.plain.create(&permit, request).await {
            Err(err) => {
                return match (self.sabotage, err.kind()) {
                    (Sabotage::LetsIdsBeUsedAgain, ErrorKind::AlreadyExists)
                    | (Sabotage::MakesTheWorthless, ErrorKind::InvalidInput) => {
                        Ok(Token::new(request, permit.principal().clone()))
                    }
                    _ => Err(err),
                };
            }
            Ok(made) => made,
        };
        self.kept.unrevoked.create(&permit, request).await?;
        self.kept.secrets.lock().unwrap().insert(request.id.clone(), request.secret);
        Ok(self.shown(made))
    }

    async fn authenticate(
        &self,
        id: &TokenId,
        secret: &SecretHash,
        now: Timestamp,
    ) -> BackendResult<Token> {
        let found = self.look(id, secret, now).await;
        self.note(id, now, found.is_ok());
        if let Ok(token) = &found {
            self.let_in.lock().unwrap().insert(id.clone(), token.clone());
        }
        let right = self.kept.secrets.lock().unwrap().get(id).copied();
        let remembered = self.let_in.lock().unwrap().get(id).cloned();
        let remembered = remembered
            .filter(|it| now < it.expires_at && right.is_some_and(|it| it.matches(secret)));
        match (self.sabotage, found) {
            (Sabotage::RemembersWhoWasLetIn, Err(err)) => remembered.ok_or(err),
            (Sabotage::TellsIdsFromSecrets, Err(err)) if right.is_some() => {
                Err(BackendError::new(err.kind(), err.operation()).with("token", id))
            }
            (_, found) => found.map(|it| self.shown(it)),
        }
    }

    async fn tokens(&self, after: Option<&TokenId>, limit: usize) -> BackendResult<Vec<Token>> {
        let most = if self.sabotage == Sabotage::IgnoresLimits { usize::MAX } else { limit };
        let mut page = self.kept.plain.tokens(after, most).await?;
        match (self.sabotage, after) {
            (Sabotage::HidesTheRevoked, _) => page.retain(|it| it.revoked_at.is_none()),
            (Sabotage::ListsBackwards, _) => page.reverse(),
            (Sabotage::RepeatsTheLastOfAPage, Some(after)) => {
                let all = self.kept.plain.tokens(None, usize::MAX).await?;
                page.splice(0..0, all.into_iter().filter(|it| it.id == *after));
                page.truncate(limit);
            }
            _ => {}
        }
        Ok(page.into_iter().map(|it| self.shown(it)).collect())
    }

    async fn revoke(&self, given: &Permit, id: &TokenId, now: Timestamp) -> BackendResult<()> {
        let permit = self.permit(given).await;
        let done = self.kept.plain.revoke(&permit, id, now).await;
        if done.is_ok() {
            self.let_in.lock().unwrap().remove(id);
            self.revoked.lock().unwrap().insert(id.clone(), now);
        }
        match (self.sabotage, done) {
            (Sabotage::CallsTheMissingUnavailable, Err(err))
                if err.kind() == ErrorKind::NotFound =>
            {
                Err(BackendError::new(ErrorKind::Unavailable, err.operation()))
            }
            (_, done) => done,
        }
    }
}
