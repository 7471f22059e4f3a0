//! Random secrets: tokens, session ids, form tokens.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

/// 256 random bits of the system's generator, as 43 characters of base64url (RFC 4648, section 5).
///
/// # Errors
/// The system provides no random bytes.
pub(super) fn secret() -> io::Result<String> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the random generator of the operating system failed [HS0009]"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
