// A PAM module that asks for a one-time code, as the second factor of a stack.
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdlib.h>
#include <string.h>

int pam_sm_authenticate(pam_handle_t *pam, int flags, int argc, const char **argv) {
    char *code = NULL;
    if (pam_prompt(pam, PAM_PROMPT_ECHO_OFF, &code, "One-time code: ") != PAM_SUCCESS || !code)
        return PAM_CONV_ERR;
    int right = strcmp(code, "424242") == 0;
    free(code);
    return right ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(pam_handle_t *pam, int flags, int argc, const char **argv) { return PAM_SUCCESS; }
