//! The function that libpam calls to communicate with the user. No Rust panic unwinds into C from here.

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use libc::{c_int, c_void};
use pam_sys::types::{PamMessage, PamResponse};

use super::{Conversation, ConversationFailed, PAM_BUF_ERR, PAM_CONV_ERR, PAM_SUCCESS, Prompt};
use crate::secret::{MAX_SECRET, Secret, wipe};

/// The maximum number of messages in one call (PAM_MAX_NUM_MSG).
const MAX_MESSAGES: c_int = 32;

/// The maximum length of a message that is shown, in bytes; libpam's own limit is 512.
const MAX_MESSAGE: usize = 64 * 1024;

/// The state to which libpam keeps a pointer.
pub(super) struct ConversationState {
    conversation: Box<dyn Conversation>,
    failed: bool,
}

impl ConversationState {
    pub(super) fn new(conversation: Box<dyn Conversation>) -> Self {
        Self { conversation, failed: false }
    }

    /// Returns whether the conversation failed since the last call, and clears that.
    pub(super) fn take_failure(&mut self) -> bool {
        std::mem::take(&mut self.failed)
    }
}

/// The callback of pam_conv(3).
pub(super) extern "C" fn speak(
    count: c_int,
    messages: *mut *mut PamMessage,
    responses: *mut *mut PamResponse,
    talk: *mut c_void,
) -> c_int {
    if !(1..=MAX_MESSAGES).contains(&count) || messages.is_null() || responses.is_null() || talk.is_null() {
        return PAM_CONV_ERR;
    }
    // SAFETY: `talk` is the pointer that `Pam::start` made, not null, and alive until pam_end; there is one thread, and
    // a conversation cannot reach this handle again, so the borrow is exclusive.
    let talk = unsafe { &mut *talk.cast::<ConversationState>() };
    // SAFETY: `responses` is a place for one pointer, checked not to be null (pam_conv(3)).
    unsafe { *responses = ptr::null_mut() };
    let Some(mut answers) = Answers::for_messages(count) else { return PAM_BUF_ERR };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for index in 0..answers.count {
            // SAFETY: Linux-PAM passes an array of `count` pointers; the index is below it.
            let message = unsafe { *messages.add(index) };
            let answer = ask(talk.conversation.as_mut(), message)?;
            answers.put(index, answer)?;
        }
        Ok::<(), ConversationFailed>(())
    }));
    if matches!(outcome, Ok(Ok(()))) {
        // SAFETY: as above; the caller of libpam frees the array from here on.
        unsafe { *responses = answers.give_away() };
        PAM_SUCCESS
    } else {
        talk.failed = true;
        PAM_CONV_ERR
    }
}

fn ask(conversation: &mut dyn Conversation, message: *const PamMessage) -> Result<Option<Secret>, ConversationFailed> {
    if message.is_null() {
        return Err(ConversationFailed);
    }
    // SAFETY: not null; libpam passes a valid structure, which is read now and not kept.
    let PamMessage { msg_style, msg } = unsafe { ptr::read(message) };
    if msg.is_null() {
        return Err(ConversationFailed);
    }
    // SAFETY: not null, and a string that ends in NUL (pam_conv(3)); borrowed during this call only.
    let bytes = unsafe { CStr::from_ptr(msg) }.to_bytes();
    let bytes = bytes.get(..MAX_MESSAGE).unwrap_or(bytes);
    match msg_style {
        1 => answered(conversation.converse(Prompt::Hidden(bytes))?),
        2 => answered(conversation.converse(Prompt::Visible(bytes))?),
        3 => conversation.converse(Prompt::Error(bytes)).map(|_| None),
        4 => conversation.converse(Prompt::Info(bytes)).map(|_| None),
        _ => Err(ConversationFailed),
    }
}

/// Treats a prompt without an answer as a failure: modules handle a null answer differently.
fn answered(answer: Option<Secret>) -> Result<Option<Secret>, ConversationFailed> {
    answer.map(Some).ok_or(ConversationFailed)
}

/// The array of answers that pam_conv(3) requires; wiped and freed unless it is given away.
struct Answers {
    array: *mut PamResponse,
    count: usize,
}

impl Answers {
    fn for_messages(count: c_int) -> Option<Self> {
        let count = usize::try_from(count).ok()?;
        // SAFETY: calloc checks the product; zero is a valid response: no text, no code.
        let array = unsafe { libc::calloc(count, size_of::<PamResponse>()) }.cast::<PamResponse>();
        (!array.is_null()).then_some(Self { array, count })
    }

    fn put(&mut self, index: usize, answer: Option<Secret>) -> Result<(), ConversationFailed> {
        let Some(answer) = answer else { return Ok(()) };
        let bytes = answer.as_bytes();
        // An answer would be cut at a NUL: "right\0anything" would count as "right".
        if bytes.len() > MAX_SECRET || bytes.contains(&0) || index >= self.count {
            return Err(ConversationFailed);
        }
        // SAFETY: calloc of at least one byte; the last one stays zero and ends the string.
        let text = unsafe { libc::calloc(bytes.len() + 1, 1) }.cast::<u8>();
        if text.is_null() {
            return Err(ConversationFailed);
        }
        // SAFETY: `text` has room for one more byte than is copied, and does not overlap it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), text, bytes.len()) };
        // SAFETY: the index is below the count, so the element is in the array; its text was null.
        unsafe { (*self.array.add(index)).resp = text.cast() };
        Ok(())
    }

    fn give_away(mut self) -> *mut PamResponse {
        std::mem::replace(&mut self.array, ptr::null_mut())
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if self.array.is_null() {
            return;
        }
        for index in 0..self.count {
            // SAFETY: the index is in the array, which we own.
            let text = unsafe { (*self.array.add(index)).resp };
            if text.is_null() {
                continue;
            }
            // SAFETY: made by `put`: a string that we own and that ends in NUL.
            let length = unsafe { libc::strlen(text) };
            // SAFETY: `length` initialised bytes that we own, to which nothing else points.
            wipe(unsafe { std::slice::from_raw_parts_mut(text.cast::<u8>(), length) });
            // SAFETY: from calloc, freed once.
            unsafe { libc::free(text.cast()) };
        }
        // SAFETY: from calloc, freed once.
        unsafe { libc::free(self.array.cast()) };
    }
}
