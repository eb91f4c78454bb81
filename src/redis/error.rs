//! The meaning of an error for the caller.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::address::Address;

/// Whether the error is about the command that it answers, and about neither other
/// commands nor the server. Any other error passes, or an operator has to act, so
/// that the caller repeats all commands.
pub(crate) fn concerns_one_command(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::NoPerm
            | ServerErrorKind::NoScript
            | ServerErrorKind::ResponseError
            | ServerErrorKind::TryAgain,
        ) => true,
        // The client has no kinds of its own for these.
        ErrorKind::Extension => {
            matches!(error.code(), Some("WRONGTYPE" | "NOTVERSION"))
        }
        _ => false,
    }
}

/// Whether the command failed for a reason that passes and is not about other
/// commands: it needs memory, and there is none. Deletions need none.
pub(crate) fn fails_alone(error: &RedisError) -> bool {
    error.code() == Some("OOM")
}

/// A short name for the reason why the keys of the command that `error` answers
/// stay as they are, however often it is repeated; `None` if repeating may help.
///
/// An account that may not run the command at all gets NOPERM, too. That is not
/// about the key, and an operator has to grant the command. So only texts that
/// are about keys count.
pub(crate) fn refusal(error: &RedisError) -> Option<&'static str> {
    let says = |words| error.detail().is_some_and(|detail| detail.contains(words));
    match error.kind() {
        // Redis 6: "… to access one of the keys used as arguments"; from Redis
        // 7 on: "No permissions to access a key".
        ErrorKind::Server(ServerErrorKind::NoPerm) if says("access") && says("key") => {
            Some("no-permission")
        }
        ErrorKind::Server(ServerErrorKind::ResponseError)
            if says("not an integer") || says("would overflow") =>
        {
            Some("not-an-integer")
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) if says("access") && says("channel") => {
            Some("no-permission")
        }
        ErrorKind::Extension if error.code() == Some("WRONGTYPE") => Some("wrong-type"),
        // The answer of raise.lua.
        ErrorKind::Extension if error.code() == Some("NOTVERSION") => Some("not-a-version"),
        _ => None,
    }
}

/// Whether a command with several keys failed because some of them have moved to
/// another node already. Commands with one key each succeed.
pub(crate) fn is_divided(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain)
}

/// Whether the server has no such command: it was renamed away, or the service does
/// not offer it.
pub(crate) fn is_unknown_command(error: &RedisError) -> bool {
    let unknown = |detail: &str| {
        // Redis 6 and later, and what scripts say.
        let detail = detail.to_ascii_lowercase();
        detail.contains("unknown command")
            || detail.contains("unknown subcommand")
            || detail.contains("unknown redis command")
            || detail.contains("invalid command")
    };
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error.detail().is_some_and(unknown)
}

/// Whether the account may not run the command, or one that a script runs.
fn lacks_permission(error: &RedisError) -> bool {
    let in_script = "The user executing the script can't";
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || error
            .detail()
            .is_some_and(|detail| detail.contains(in_script))
}

/// Makes an error of the server at `address` one for the caller.
pub(crate) fn named(error: &RedisError, address: &Address) -> RequestError {
    let unavailable = |code| RequestError::Unavailable {
        address: address.to_string(),
        code,
        reason: error.to_string(),
    };
    let refused = |code, remedy| RequestError::Refused {
        address: address.to_string(),
        code,
        reason: error.to_string(),
        remedy,
    };
    match error.kind() {
        ErrorKind::AuthenticationFailed => refused(
            "authentication",
            "check redis.password and the user in redis.url, or redis.sentinel.password if this is a sentinel; with iam, that the user is of type iam, that user and cache are named as AWS names them, and that the process' role may connect",
        ),
        _ if lacks_permission(error) => refused(
            "no-permission",
            "grant the ACL user the commands that docs/requirements.md lists, on the keys of all rules",
        ),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => unavailable("read-only"),
        ErrorKind::Server(ServerErrorKind::BusyLoading) => unavailable("loading"),
        ErrorKind::Server(
            ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot,
        ) => refused("cluster", SET_CLUSTER),
        ErrorKind::Server(ServerErrorKind::ResponseError)
            if error
                .detail()
                .is_some_and(|detail| detail.contains("cluster support disabled")) =>
        {
            refused(
                "no-cluster",
                "this server is not part of a cluster: leave redis.cluster out",
            )
        }
        _ if is_unknown_command(error) => refused("unknown-command", UNKNOWN_COMMAND_REMEDY),
        ErrorKind::Server(ServerErrorKind::ClusterDown) => unavailable("cluster-down"),
        // The client has no kind of its own for this.
        _ if error.code() == Some("NOAUTH") => refused(
            "authentication",
            "set redis.password, or redis.sentinel.password if this is a sentinel",
        ),
        _ if error.code() == Some("OOM") => refused(
            "out-of-memory",
            "give Redis more memory or its keys shorter TTLs, or let it evict (maxmemory-policy); keys are deleted all the same, and what needs memory is tried again",
        ),
        ErrorKind::Server(_) | ErrorKind::Extension => unavailable("server-error"),
        _ if error.is_timeout() => unavailable("timeout"),
        _ if error.is_connection_refusal() => unavailable("connection-refused"),
        _ => unavailable("connection"),
    }
}

/// What to do about a command that a server does not know.
pub const UNKNOWN_COMMAND_REMEDY: &str = "the server does not know this command: take its rename-command out of redis.conf, or use a service that has the commands that docs/requirements.md lists; no grant helps";

const SET_CLUSTER: &str = "set redis.cluster = true";

/// The error for a node of a cluster that is configured as a single server.
pub(crate) fn is_a_cluster(address: &Address) -> RequestError {
    RequestError::Refused {
        address: address.to_string(),
        code: "cluster",
        reason: "this server is part of a cluster".to_owned(),
        remedy: SET_CLUSTER,
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There was no answer, or one that passes: loading, failing over, read-only.
    #[error(
        "Redis at {address} does not answer as it should ({code}): {reason}; check redis.url and that the server runs"
    )]
    Unavailable {
        /// The server.
        address: String,
        /// A short name for the failure.
        code: &'static str,
        /// The reason in the client's words.
        reason: String,
    },
    /// There is no token to log in with. That may pass.
    #[error("Redis at {address} is not connected to: {reason}")]
    NoToken {
        /// The server.
        address: String,
        /// Why there is no token, and what to do.
        reason: String,
    },
    /// An operator has to change something first.
    #[error("Redis at {address} refused ({code}): {reason}; {remedy}")]
    Refused {
        /// The server.
        address: String,
        /// A short name for the failure.
        code: &'static str,
        /// The reason in the server's words.
        reason: String,
        /// The remedy: something that an operator can do.
        remedy: &'static str,
    },
}

impl RequestError {
    /// A short name for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            RequestError::Unavailable { code, .. } | RequestError::Refused { code, .. } => code,
            RequestError::NoToken { .. } => "no-token",
        }
    }
}
