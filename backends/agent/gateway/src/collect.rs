//! Collects what attempts have left with their hosts.
use crate::{
    executor::{ANSWER_WITHIN, AgentExecutor, identity},
    order,
};
use deploy_agent_protocol::{
    LONGEST_PIECE,
    v1::{self, answer::Kind as Answer, order::Kind as Order},
};
use deploy_core::{
    backend::{CollectRequest, Piece},
    error::{BackendResult, ErrorKind},
};

impl AgentExecutor {
    /// One frame holds a piece, so it is a smaller one than may be asked for.
    pub(crate) async fn collect_piece(&self, request: &CollectRequest) -> BackendResult<Piece> {
        let about = identity(&request.on, request.generation, &request.token, "executor.collect");
        if !self.session(about.host, about.operation).await?.gives_back() {
            let err = about.error(ErrorKind::Unsupported);
            return Err(err.because(
                "its agent is too old to give back what attempts leave: install a newer one",
            ));
        }
        let limit = request.limit.min(LONGEST_PIECE);
        let order = Order::Collect(v1::Collect {
            place: Some(order::place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
            output: request.output.to_string(),
            offset: request.offset,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        });
        match self.ask(&about, order, ANSWER_WITHIN).await? {
            Answer::Collected(v1::Collected { found: true, size, mut bytes }) => {
                bytes.truncate(limit);
                Ok(Piece::new(bytes, size))
            }
            Answer::Collected(_) => Err(about
                .error(ErrorKind::NotFound)
                .with("output", &request.output)
                .because("the attempt has left no such file on the host")),
            _ => Err(about.unexpected()),
        }
    }
}
