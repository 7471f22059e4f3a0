//! The error of a value that cannot be read: it makes its record a dead letter.

use memory::event::Class;
use streams::ports::CodecError;

/// Bad input of a class; a message may repeat what a writer sent, so it is cut.
pub fn bad_input(class: Class, message: String) -> CodecError {
    const LONGEST: usize = 400;
    let message = match message.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message,
    };
    CodecError::Bad { class: class.as_str(), message }
}
