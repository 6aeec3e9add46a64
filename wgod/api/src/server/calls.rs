//! Around every call: named parameters, what the socket allows, a bound on calls under way, panics caught,
//! errors in one shape, and a line in the log for what changes something.
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use jsonrpsee::core::server::MethodCallback;
use jsonrpsee::server::middleware::rpc::{Batch, BatchEntry, Notification, Request, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse, Methods};
use jsonrpsee::types::error::METHOD_NOT_FOUND_CODE;
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned, Id};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tower::Layer;

use super::Caller;
use super::access::{Access, Audit, Deed, deed, permit, title};
use crate::error::{ApiError, Kind};

/// The method whose parameter is jsonrpsee's own: the subscription's id, in a list.
const UNSUBSCRIBE: &str = "unsubscribe";

/// What the calls of all connections of a socket share.
#[derive(Clone, Debug)]
pub(super) struct CallGate {
    access: Access,
    methods: Methods,
    /// Counts the calls under way.
    places: Arc<Semaphore>,
}

impl CallGate {
    pub(super) fn new(access: Access, methods: Methods, calls: usize) -> Self {
        Self { access, methods, places: Arc::new(Semaphore::new(calls)) }
    }
}

/// Puts [`Calls`] around jsonrpsee's service.
#[derive(Clone, Debug)]
pub(super) struct CallLayer {
    gate: CallGate,
    by: Carrier,
}

/// How calls come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Each by a request of its own.
    Http,
    /// On a connection that can also tell of what happens later.
    WebSocket,
}

impl CallLayer {
    pub(super) fn new(gate: CallGate, by: Carrier) -> Self {
        Self { gate, by }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, service: S) -> Calls<S> {
        Calls { service, gate: self.gate.clone(), by: self.by }
    }
}

/// The service of calls.
#[derive(Clone, Debug)]
pub(super) struct Calls<S> {
    service: S,
    gate: CallGate,
    by: Carrier,
}

impl<S> Calls<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse> + Clone + Send + Sync + 'static,
{
    /// One call, from its bare request to the answer in our shape.
    async fn answer(self, request: Request<'_>) -> MethodResponse {
        let id = request.id.clone().into_owned();
        let refuse = |error: ApiError| MethodResponse::error(id.clone(), ErrorObjectOwned::from(error));
        // One that isn't there does nothing, whatever it may be called.
        let Some((method, callback)) = self.gate.methods.method_with_name(&request.method) else {
            return MethodResponse::error(id, unknown(&request.method));
        };
        let is_subscription =
            matches!(callback, MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_));
        if is_subscription && self.by == Carrier::Http {
            let message =
                format!("`{method}` needs a WebSocket; by HTTP, ask for `list` with `since` again and again");
            return refuse(ApiError::new(Kind::Unsupported, message));
        }
        let caller = request.extensions().get::<Caller>().copied();
        let request = with_list_of_one(request);
        // Parameters that can't be read are refused below, once it is known who may say so.
        let params = request.as_ref().ok().and_then(|request| request.params.as_deref());
        let params = params.map(RawValue::get);
        let deed = deed(method, params);
        let audit = (deed == Deed::Changes).then(|| Audit::begin(title(method, params), caller));
        let answer = match permit(self.gate.access, deed, method).and(request) {
            Ok(request) => self.perform(request, method).await,
            Err(error) => refuse(error),
        };
        if let Some(audit) = audit {
            audit.end(&answer);
        }
        answer
    }

    async fn perform(self, request: Request<'_>, method: &'static str) -> MethodResponse {
        let Self { service, gate, .. } = self;
        let id = request.id.clone().into_owned();
        let Ok(_permit) = gate.places.try_acquire() else {
            let error = ApiError::new(Kind::Busy, "wgod has too many calls under way; try again later");
            return MethodResponse::error(id, ErrorObjectOwned::from(error));
        };
        let call = AssertUnwindSafe(async { service.call(request).await });
        match call.catch_unwind().await {
            Ok(answer) => in_our_shape(answer, id),
            Err(_) => {
                tracing::error!(method, "a control call panicked; this is a defect of wgod");
                let message = format!("`{method}` failed by a defect of wgod; its log has the details");
                MethodResponse::error(id, ErrorObjectOwned::from(ApiError::new(Kind::Internal, message)))
            }
        }
    }
}

impl<S> RpcServiceT for Calls<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse> + Clone + Send + Sync + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.clone().answer(request)
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let calls = self.clone();
        async move {
            // Each answer is bounded already, and so is their number.
            let mut answers = BatchResponseBuilder::new_with_limit(usize::MAX);
            let mut notified = false;
            for entry in batch {
                let answer = match entry {
                    Ok(BatchEntry::Call(request)) => calls.call(request).await,
                    Ok(BatchEntry::Notification(_)) => {
                        notified = true;
                        continue;
                    }
                    Err(error) => {
                        let (error, id) = error.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                if let Err(too_large) = answers.append(answer) {
                    return too_large;
                }
            }
            if answers.is_empty() && notified {
                return MethodResponse::notification();
            }
            MethodResponse::from_batch(answers.finish())
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        self.service.notification(notification)
    }
}

/// Turns the object of named parameters, or none at all, into the list of one object that the
/// generated code decodes. A list of one object, as the generated client sends it, passes.
fn with_list_of_one(mut request: Request<'_>) -> Result<Request<'_>, ApiError> {
    if request.method == UNSUBSCRIBE {
        return Ok(request);
    }
    let given = request.params.as_deref().map_or("", |raw| raw.get().trim());
    let list = match given.as_bytes().first() {
        None => "[{}]".to_owned(),
        Some(b'{') => {
            let mut list = String::with_capacity(given.len() + 2);
            list.push('[');
            list.push_str(given);
            list.push(']');
            list
        }
        Some(_) if given == "null" => "[{}]".to_owned(),
        Some(_) => match serde_json::from_str::<Vec<ObjectOnly<'_>>>(given) {
            Ok(list) if list.is_empty() => "[{}]".to_owned(),
            Ok(list) if list.len() == 1 => return Ok(request),
            _ => {
                let message = "parameters are named: `params` must be an object, like {\"id\": \"…\"}";
                return Err(ApiError::new(Kind::BadRequest, message));
            }
        },
    };
    let raw = RawValue::from_string(list)
        .map_err(|why| ApiError::new(Kind::BadRequest, format!("`params` is not valid JSON: {why}")))?;
    request.params = Some(Cow::Owned(raw));
    Ok(request)
}

/// Any JSON object, not looked into.
struct ObjectOnly<'a>(std::marker::PhantomData<&'a ()>);

impl<'de: 'a, 'a> Deserialize<'de> for ObjectOnly<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(from)?;
        match raw.get().starts_with('{') {
            true => Ok(Self(std::marker::PhantomData)),
            false => Err(serde::de::Error::custom("not an object")),
        }
    }
}

/// Characters of an unknown method's name that its caller gets back.
const NAME_SHOWN: usize = 40;

fn unknown(method: &str) -> ErrorObjectOwned {
    let shown: String = method.chars().take(NAME_SHOWN).collect();
    let error = ApiError::new(Kind::Unsupported, format!("this wgod knows no method {shown:?}"));
    ErrorObject::owned(METHOD_NOT_FOUND_CODE, error.message, Some(error.data))
}

/// Gives errors that jsonrpsee made itself (a refused parameter) our `data`.
fn in_our_shape(answer: MethodResponse, id: Id<'static>) -> MethodResponse {
    #[derive(Deserialize)]
    struct Failed<'a> {
        #[serde(borrow)]
        error: ErrorObject<'a>,
    }
    if answer.as_error_code().is_none() || answer.is_batch() {
        return answer;
    }
    let Ok(Failed { error }) = serde_json::from_str::<Failed<'_>>(answer.as_json().get()) else {
        return answer;
    };
    let is_ours = |raw: &RawValue| serde_json::from_str::<crate::error::ErrorData>(raw.get()).is_ok();
    if error.data().is_some_and(is_ours) {
        return answer;
    }
    let code = error.code();
    let ours = ApiError::from(error);
    let ours = ErrorObjectOwned::owned(code, ours.message, Some(ours.data));
    MethodResponse::error(id, ours).with_extensions(answer.extensions().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_a_list_of_one_object() {
        let convert = |method: &str, params: Option<&str>| {
            let raw = params.map(|p| RawValue::from_string(p.to_owned()).unwrap());
            let request = Request::owned(method.to_owned(), raw, Id::Number(1));
            with_list_of_one(request).map(|request| request.params.unwrap().get().to_owned())
        };
        for (given, expected) in [
            (None, "[{}]"),
            (Some("null"), "[{}]"),
            (Some("[]"), "[{}]"),
            (Some(r#"{"id":"a"}"#), r#"[{"id":"a"}]"#),
            (Some(r#"[{"id":"a"}]"#), r#"[{"id":"a"}]"#),
            (Some(r#"[ {"id":"a"} ]"#), r#"[ {"id":"a"} ]"#),
        ] {
            assert_eq!(convert("show", given).unwrap(), expected);
        }
        for bad in ["[1]", "[{},{}]", "3", "\"x\"", "[[]]"] {
            assert_eq!(convert("show", Some(bad)).unwrap_err().kind(), Kind::BadRequest, "{bad}");
        }
        assert_eq!(convert(UNSUBSCRIBE, Some("[1]")).unwrap(), "[1]");
    }
}
