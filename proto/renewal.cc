// Being written.
#include "proto/renewal.h"
