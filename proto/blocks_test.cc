// Being written.
#include <doctest/doctest.h>

#include "proto/blocks.h"
