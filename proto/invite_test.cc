// Being written.
#include <doctest/doctest.h>

#include "proto/invite.h"
