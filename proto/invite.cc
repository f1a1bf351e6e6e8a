// Being written.
#include "proto/invite.h"
