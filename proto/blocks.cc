// Being written.
#include "proto/blocks.h"
