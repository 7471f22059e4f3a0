//! Query parameters that several routes of Mem0's API have.

use crate::description::{Parameter, Shape};

/// Memories of a user.
pub(super) static USER_ID: Parameter =
    Parameter::query("user_id", Shape::Name, "Memories of this user alone; `*` stands for any.").keyed("mem0_user_id");
/// Memories of an agent.
pub(super) static AGENT_ID: Parameter =
    Parameter::query("agent_id", Shape::Name, "Memories of this agent alone; `*` stands for any.");
/// Memories of an app.
pub(super) static APP_ID: Parameter =
    Parameter::query("app_id", Shape::Name, "Memories of this app alone; `*` stands for any.");
/// Memories of a session, as Mem0 calls it.
pub(super) static RUN_ID: Parameter =
    Parameter::query("run_id", Shape::Name, "Memories of this session alone; `*` stands for any.");
/// Memories of a session, as HelixAgent calls it.
pub(super) static SESSION_ID: Parameter =
    Parameter::query("session_id", Shape::Name, "The same as `run_id`.").keyed("mem0_session_id");

/// The parameters that name entities, with the types of these.
pub(super) static OF_ENTITIES: [(&str, &Parameter); 5] =
    [("user", &USER_ID), ("agent", &AGENT_ID), ("app", &APP_ID), ("run", &RUN_ID), ("run", &SESSION_ID)];
