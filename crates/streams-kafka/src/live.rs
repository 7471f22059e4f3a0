//! The live clients of this process, so that a password which has changed reaches each of them.
//!
//! librdkafka takes another user and password for a live client (`rd_kafka_sasl_set_credentials`)
//! and uses them from the next connection or authentication on; what is under way goes on.
//! Certificates, keys and authorities it reads only when a client is made (`rd_kafka_ssl_ctx_init`,
//! librdkafka 2.12.1), so those take new clients: see [`super::renewal`].

use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::bindings as sys;

use super::error::Failure;
use super::settings::KafkaSettings;
use streams::error::{Error, Result};

/// A client of librdkafka, by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address(*mut sys::rd_kafka_t);

// SAFETY: it is used under the lock of the list alone, and librdkafka's clients are thread-safe.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

static LIVE: Mutex<Vec<Address>> = Mutex::new(Vec::new());

fn list() -> MutexGuard<'static, Vec<Address>> {
    // Each change is one push or removal, which a panic cannot leave half done.
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client's place in the list, until it is dropped.
pub(super) struct Live(Address);

impl Live {
    /// Lists a client.
    ///
    /// # Safety
    /// The client is live, and stays so until this is dropped.
    pub unsafe fn new(client: *mut sys::rd_kafka_t) -> Live {
        list().push(Address(client));
        Live(Address(client))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        list().retain(|listed| *listed != self.0);
    }
}

/// Gives the user and password of these settings to every live client; each uses them from its next
/// connection on. Returns how many clients there are; 0 where the settings have no user with a
/// password.
///
/// # Errors
/// [`Error::Retry`]: the password's file cannot be read. [`Error::Fatal`]: librdkafka takes none,
/// or it holds a NUL.
pub fn replace_password(settings: &KafkaSettings) -> Result<usize> {
    let entries = settings.pass_through.entries();
    let value = |name: &str| entries.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.read()).transpose();
    let (Some(user), Some(password)) = (value("sasl.username")?, value("sasl.password")?) else { return Ok(0) };
    let of = |text: &str| {
        CString::new(text)
            .map_err(|_| Error::Fatal("the user or the password for Kafka holds a NUL: correct it [HS2058]".to_owned()))
    };
    let user = of(&user)?;
    let password = of(&password)?;
    let clients = list();
    for client in clients.iter() {
        // SAFETY: a listed client is live, and is not taken off while the list is locked; two ended
        // strings, which the call copies.
        let error = unsafe { sys::rd_kafka_sasl_set_credentials(client.0, user.as_ptr(), password.as_ptr()) };
        if let Some(failure) = Failure::from_error(error) {
            return Err(Error::Fatal(format!("set another password for a Kafka client: {} [HS2059]", failure.text)));
        }
    }
    Ok(clients.len())
}
