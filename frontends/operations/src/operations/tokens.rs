use super::{Listed, Operations};
use crate::{
    parse::{field, refused},
    problem::OrProblem as _,
    random::random,
};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{self, CreateToken, CredentialStore},
    id::{ServiceName, TokenId},
    spec::Selector,
    token::{ApiToken, TokenScope, TokenSecret},
};
use deploy_wire::{IssuedToken, NewToken, Problem, ProblemCode, Token};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How long a token is worth something if nothing is said of it.
const USUAL: Duration = Duration::from_secs(90 * 86_400);
/// The longest that it may be.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// What can be done to API tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    operations: Operations,
    credentials: Arc<dyn CredentialStore>,
    /// What whoever asks has a token for; `None` where they have the data itself.
    mine: Option<TokenScope>,
}

impl Tokens {
    /// The tokens in `credentials`, in the name of whom `operations` are for. Who comes with a token that is narrowed to
    /// `mine` gives nobody more than that.
    #[must_use]
    pub fn new(
        operations: Operations,
        credentials: Arc<dyn CredentialStore>,
        mine: Option<TokenScope>,
    ) -> Self {
        Self { operations, credentials, mine }
    }

    /// Tokens, also those that are worth nothing any more.
    ///
    /// # Errors
    /// If the principal may not.
    pub async fn list(
        &self,
        after: Option<&TokenId>,
        limit: usize,
    ) -> Result<Listed<Token>, Problem> {
        self.permit().await?;
        let tokens = self.credentials.tokens(after, limit.saturating_add(1)).await.or_problem()?;
        let key = |it: &backend::Token| it.id.to_string();
        Ok(Listed::first(tokens, limit, key).map(|it| token(&it)))
    }

    /// Makes a token; its secret is in the answer, and nowhere else.
    ///
    /// # Errors
    /// If the principal may not, or may not as much; or if a field means nothing.
    pub async fn create(&self, asked: NewToken) -> Result<IssuedToken, Problem> {
        let permit = self.permit().await?;
        let scope = scope(&asked)?;
        if let Some(mine) = &self.mine {
            within(&scope, mine)?;
        }
        let lifetime = lifetime(asked.expires_in_secs)?;
        let (made, now) = (new_token()?, self.operations.parts().clock.now());
        let principal = field("principal", &asked.principal)?;
        let (id, hash) = (made.id.clone(), made.secret.hash());
        let request = CreateToken::new(id, hash, principal, scope, now, now.after(lifetime))
            .with_note(asked.note);
        let kept = self.credentials.create(&permit, &request).await.or_problem()?;
        Ok(IssuedToken { token: token(&kept), secret: made.reveal() })
    }

    /// Revokes a token; at once, and for good.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn revoke(&self, id: &TokenId) -> Result<(), Problem> {
        let permit = self.permit().await?;
        let now = self.operations.parts().clock.now();
        self.credentials.revoke(&permit, id, now).await.or_problem()
    }

    async fn permit(&self) -> Result<Permit, Problem> {
        self.operations.permit(Action::TokenWrite, Resource::System).await
    }
}

/// A token that nobody has seen.
///
/// # Errors
/// If the operating system gives no random numbers.
pub fn new_token() -> Result<ApiToken, Problem> {
    let id = TokenId::from_bits(u64::from_le_bytes(random()?));
    Ok(ApiToken::new(id, TokenSecret::from_bytes(random()?)))
}

fn lifetime(secs: Option<u64>) -> Result<Duration, Problem> {
    let lifetime = secs.map_or(USUAL, Duration::from_secs);
    if lifetime.is_zero() || lifetime > LONGEST {
        return Err(refused(
            "expires_in_secs",
            format_args!("it must be 1 to {}", LONGEST.as_secs()),
        ));
    }
    Ok(lifetime)
}

fn scope(asked: &NewToken) -> Result<TokenScope, Problem> {
    let action = |name: &String| {
        Action::ALL.into_iter().find(|it| it.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = Action::ALL.iter().map(|it| it.as_str()).collect();
            refused("actions", format_args!("`{}` is no action", name.escape_debug()))
                .with_hint(format!("there are {}", known.join(", ")))
        })
    };
    let actions: Vec<Action> = asked.actions.iter().map(action).collect::<Result<_, _>>()?;
    let mut scope = TokenScope::new(actions);
    if let Some(services) = &asked.services {
        let services = services.iter().map(|it| field("services", it));
        scope.services = Some(services.collect::<Result<BTreeSet<ServiceName>, _>>()?);
    }
    let hosts = asked.hosts.as_ref();
    scope.hosts = hosts.map(|it| field::<Selector>("hosts", it)).transpose()?;
    Ok(scope)
}

/// Nobody gives away what they do not have.
fn within(scope: &TokenScope, mine: &TokenScope) -> Result<(), Problem> {
    let services = match (&scope.services, &mine.services) {
        (_, None) => true,
        (Some(given), Some(mine)) => given.is_subset(mine),
        (None, Some(_)) => false,
    };
    let hosts = mine.hosts.is_none() || scope.hosts == mine.hosts;
    if scope.actions.is_subset(&mine.actions) && services && hosts {
        return Ok(());
    }
    let message = "a token may allow no more than the one that it is made with";
    Err(Problem::new(ProblemCode::AccessDenied, message)
        .with_hint("`/api/v1/tokens/current` shows what yours allows"))
}

/// A token, without what proves that one has it.
#[must_use]
pub fn token(token: &backend::Token) -> Token {
    let services = token.scope.services.as_ref();
    Token {
        id: token.id.to_string(),
        principal: token.principal.to_string(),
        note: token.note.clone(),
        actions: token.scope.actions.iter().map(|it| it.as_str().to_owned()).collect(),
        services: services.map(|all| all.iter().map(ToString::to_string).collect()),
        hosts: token.scope.hosts.as_ref().map(ToString::to_string),
        created_at: token.created_at.to_string(),
        created_by: token.created_by.to_string(),
        expires_at: token.expires_at.to_string(),
        revoked_at: token.revoked_at.map(|it| it.to_string()),
        last_used_at: token.last_used_at.map(|it| it.to_string()),
    }
}
