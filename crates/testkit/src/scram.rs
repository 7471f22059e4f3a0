//! Users of SCRAM and their passwords, changed by the admin API
//! (`rd_kafka_AlterUserScramCredentials`, KIP-554), since a call of Kafka's own tool starts a JVM.

use super::Broker;
use super::authorizer::Queue;
use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_ScramMechanism_t as Mechanism;
use std::ffi::{CStr, CString};

/// All mechanisms of SCRAM that Kafka has.
const MECHANISMS: [Mechanism; 2] =
    [Mechanism::RD_KAFKA_SCRAM_MECHANISM_SHA_256, Mechanism::RD_KAFKA_SCRAM_MECHANISM_SHA_512];
/// The fewest that a broker accepts.
const ITERATIONS: i32 = 4096;

/// Gives a user a password for each mechanism of SCRAM; makes the user where there is none.
pub(super) fn set_password(broker: &Broker, user: &str, password: &str) {
    let user = CString::new(user).unwrap();
    for mechanism in MECHANISMS {
        // SAFETY: an ended string, and bytes of the length told; without a salt the client makes
        // one.
        alter(broker, unsafe {
            let (password, length) = (password.as_ptr(), password.len());
            let salt = std::ptr::null();
            sys::rd_kafka_UserScramCredentialUpsertion_new(
                user.as_ptr(),
                mechanism,
                ITERATIONS,
                password,
                length,
                salt,
                0,
            )
        });
    }
}

/// Takes a user away.
pub(super) fn delete_user(broker: &Broker, user: &str) {
    let user = CString::new(user).unwrap();
    for mechanism in MECHANISMS {
        // SAFETY: an ended string.
        alter(broker, unsafe { sys::rd_kafka_UserScramCredentialDeletion_new(user.as_ptr(), mechanism) });
    }
}

/// Makes one change, and frees it. One at a time: a KRaft broker takes one mechanism of a user in a
/// request.
fn alter(broker: &Broker, change: *mut sys::rd_kafka_UserScramCredentialAlteration_t) {
    let admin = broker.admin();
    let client = admin.inner().native_ptr();
    // SAFETY: a live client, and a change that is ours; queue and event are freed by their owners
    // behind the calls.
    unsafe {
        let queue = Queue::new(client);
        let mut changes = [change];
        sys::rd_kafka_AlterUserScramCredentials(client, changes.as_mut_ptr(), 1, std::ptr::null(), queue.0);
        let event = queue.answer();
        let result = sys::rd_kafka_event_AlterUserScramCredentials_result(event.0);
        let mut count = 0;
        let answers = sys::rd_kafka_AlterUserScramCredentials_result_responses(result, &mut count);
        assert_eq!(count, 1);
        let error = sys::rd_kafka_AlterUserScramCredentials_result_response_error(*answers);
        // One of "no error" comes for a success.
        let code = sys::rd_kafka_error_code(error);
        assert_eq!(code as i32, 0, "{:?}", CStr::from_ptr(sys::rd_kafka_err2str(code)));
        sys::rd_kafka_UserScramCredentialAlteration_destroy(change);
    }
}
