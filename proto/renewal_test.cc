// Being written.
#include <doctest/doctest.h>

#include "proto/renewal.h"
