// machine.UART on the second and third UART of the board (the first is the console). Included by extmod/machine_uart.c.
//
// Rule: nothing waits: a read gives what has come, a write what the line takes now. Must not know: what is carried.

#include "board.h"

#define WRITE_SPINS (2000) // the line takes a byte in 87 us at 115200 baud; QEMU's at once

struct _machine_uart_obj_t {
    mp_obj_base_t base;
    uint8_t number;
    uint32_t baud;
};

static machine_uart_obj_t uarts[UARTS] = {
    { { &machine_uart_type }, 0, 115200 },
    { { &machine_uart_type }, 1, 115200 },
    { { &machine_uart_type }, 2, 115200 },
};

#define MICROPY_PY_MACHINE_UART_CLASS_CONSTANTS

static void mp_machine_uart_print(const mp_print_t *print, mp_obj_t self_in, mp_print_kind_t kind) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    mp_printf(print, "UART(%u, baudrate=%u)", self->number, (unsigned)self->baud);
}

static void mp_machine_uart_init_helper(machine_uart_obj_t *self, size_t n_args, const mp_obj_t *pos_args, mp_map_t *kw_args) {
    enum { ARG_baudrate, ARG_timeout, ARG_timeout_char, ARG_rxbuf, ARG_txbuf };
    static const mp_arg_t allowed[] = {
        { MP_QSTR_baudrate, MP_ARG_INT, {.u_int = 115200} },
        { MP_QSTR_timeout, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0} },
        { MP_QSTR_timeout_char, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0} },
        { MP_QSTR_rxbuf, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0} },
        { MP_QSTR_txbuf, MP_ARG_KW_ONLY | MP_ARG_INT, {.u_int = 0} },
    };
    mp_arg_val_t args[MP_ARRAY_SIZE(allowed)];
    mp_arg_parse_all(n_args, pos_args, kw_args, MP_ARRAY_SIZE(allowed), allowed, args);
    if (args[ARG_baudrate].u_int < 1200 || args[ARG_baudrate].u_int > SYSTEM_CLOCK_HZ / 16) {
        mp_raise_ValueError(MP_ERROR_TEXT("baudrate: 1200 to 1562500"));
    }
    self->baud = args[ARG_baudrate].u_int;
    UART_REGISTERS(self->number)->BAUDDIV = SYSTEM_CLOCK_HZ / self->baud;
}

static mp_obj_t mp_machine_uart_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, MP_OBJ_FUN_ARGS_MAX, true);
    mp_int_t number = mp_obj_get_int(args[0]);
    if (number < 1 || number >= UARTS) {
        mp_raise_ValueError(MP_ERROR_TEXT("UART 1 and 2 are free; 0 is the console"));
    }
    mp_map_t kw_args;
    mp_map_init_fixed_table(&kw_args, n_kw, args + n_args);
    mp_machine_uart_init_helper(&uarts[number], n_args - 1, args + 1, &kw_args);
    return MP_OBJ_FROM_PTR(&uarts[number]);
}

static void mp_machine_uart_deinit(machine_uart_obj_t *self) {
}

static mp_int_t mp_machine_uart_any(machine_uart_obj_t *self) {
    return UART_REGISTERS(self->number)->STATE & UART_RX_FULL ? 1 : 0;
}

static bool mp_machine_uart_txdone(machine_uart_obj_t *self) {
    return !(UART_REGISTERS(self->number)->STATE & UART_TX_FULL);
}

static mp_uint_t mp_machine_uart_read(mp_obj_t self_in, void *buf_in, mp_uint_t size, int *errcode) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    uart_registers_t *line = UART_REGISTERS(self->number);
    uint8_t *buf = buf_in;
    mp_uint_t n = 0;
    for (int spins = 0; n < size && spins < WRITE_SPINS; spins++) {
        if (line->STATE & UART_RX_FULL) {
            buf[n++] = line->DATA;
            spins = 0;
        } else if (n == 0) {
            break;
        }
    }
    if (n == 0 && size != 0) {
        *errcode = MP_EAGAIN;
        return MP_STREAM_ERROR;
    }
    return n;
}

static mp_uint_t mp_machine_uart_write(mp_obj_t self_in, const void *buf_in, mp_uint_t size, int *errcode) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    uart_registers_t *line = UART_REGISTERS(self->number);
    const uint8_t *buf = buf_in;
    mp_uint_t n = 0;
    for (int spins = 0; n < size && spins < WRITE_SPINS; spins++) {
        if (!(line->STATE & UART_TX_FULL)) {
            line->DATA = buf[n++];
            spins = 0;
        }
    }
    if (n == 0 && size != 0) {
        *errcode = MP_EAGAIN;
        return MP_STREAM_ERROR;
    }
    return n;
}

static mp_uint_t mp_machine_uart_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    machine_uart_obj_t *self = MP_OBJ_TO_PTR(self_in);
    uint32_t state = UART_REGISTERS(self->number)->STATE;
    if (request == MP_STREAM_POLL) {
        mp_uint_t ready = 0;
        if (arg & MP_STREAM_POLL_RD && state & UART_RX_FULL) {
            ready |= MP_STREAM_POLL_RD;
        }
        if (arg & MP_STREAM_POLL_WR && !(state & UART_TX_FULL)) {
            ready |= MP_STREAM_POLL_WR;
        }
        return ready;
    }
    if (request == MP_STREAM_FLUSH || request == MP_STREAM_CLOSE) {
        return 0;
    }
    *errcode = MP_EINVAL;
    return MP_STREAM_ERROR;
}
