#include "tests/glu_test.h"

int main() {
    test::glu_all({"swiglu", caravan_swiglu_forward, caravan_swiglu_backward,
                   reference::silu<double>, reference::silu_derivative<double>,
                   reference::silu<float>, reference::silu_derivative<float>, 0});
    return test::finish();
}
